// Help to set up the camera: live focus, brightness and card position.

import { drawn, make } from "./page.js";
import { guideBox, placement } from "./placement.js";
import { Preview } from "./preview.js";
import { translate } from "./words.js";

const DARK = 0.25;
const BRIGHT = 0.8;
const MUCH_GLARE = 0.03;
const AT_BEST = 0.92;
const NEAR_BEST = 0.75;
const KEY = "cardedge.guide";

export class Setup {
  #sharpness = document.getElementById("sharpness");
  #brightness = document.getElementById("brightness");
  #placement = document.querySelector(".placement");
  #guide = document.getElementById("guide");
  #best = 0;

  constructor() {
    this.preview = new Preview(document.querySelector(".setup .preview"), (frame) => this.#drawGuide(frame));
    this.#guide.checked = localStorage.getItem(KEY) !== "off";
    this.#guide.addEventListener("change", () => localStorage.setItem(KEY, this.#guide.checked ? "on" : "off"));
    document.getElementById("reset").addEventListener("click", () => (this.#best = 0));
  }

  /** Show the outlines and the image quality of one frame. */
  show(update) {
    this.preview.show(update);
    if (update.sharpness !== null) this.#showSharpness(update.sharpness);
    if (update.brightness !== null) this.#showBrightness(update.brightness, update.clipped ?? 0);
    this.#showPlacement(update);
  }

  #drawGuide(frame) {
    if (!this.#guide.checked) return [];
    const [x, y, width, height] = guideBox(frame);
    const size = frame.height / 24;
    return [
      drawn("rect", { x, y, width, height, rx: width * 0.05, "stroke-width": frame.width / 320 }),
      drawn("text", { x: frame.width / 2, y: y + height + size * 1.3, "font-size": size, "text-anchor": "middle" }, translate("status.guide.label")),
    ];
  }

  #showSharpness(value) {
    this.#best = Math.max(this.#best, value);
    const scale = this.#best * 1.15 || 1;
    const share = this.#best > 0 ? value / this.#best : 0;
    const verdict = share >= AT_BEST ? "best" : share >= NEAR_BEST ? "near" : "far";
    this.#sharpness.querySelector(".fill").style.width = `${(100 * value) / scale}%`;
    this.#sharpness.querySelector(".mark").style.left = `${(100 * this.#best) / scale}%`;
    this.#sharpness.querySelector(".number").textContent = `${Math.round(value)} / ${Math.round(this.#best)}`;
    this.#showAdvice(this.#sharpness, verdict === "far" ? "bad" : "good", translate(`status.sharpness.${verdict}`));
  }

  #showBrightness(value, clipped) {
    const verdict = value < DARK ? "dark" : value > BRIGHT ? "bright" : clipped > MUCH_GLARE ? "glare" : "good";
    this.#brightness.querySelector(".fill").style.width = `${100 * Math.min(1, value)}%`;
    this.#brightness.querySelector(".number").textContent = value.toFixed(2);
    this.#showAdvice(this.#brightness, verdict === "good" ? "good" : "bad", translate(`status.brightness.${verdict}`));
  }

  #showAdvice(meter, kind, text) {
    meter.dataset.kind = kind;
    meter.querySelector(".advice").textContent = text;
  }

  /** Assess the largest card. */
  #showPlacement({ frame, outlines }) {
    const assessed = outlines.map(({ quad }) => placement(quad, frame));
    const largest = assessed.sort((one, other) => other.size.share - one.size.share)[0];
    this.#placement.classList.toggle("none", !largest);
    this.#placement.querySelector("ul").replaceChildren(...(largest ? verdicts(largest) : []));
  }
}

function verdicts({ size, tilt, place }) {
  return [
    verdict("size", size.verdict, translate("status.of_height", { share: Math.round(size.share * 100) })),
    verdict("tilt", tilt.verdict, translate("status.about_degrees", { degrees: tilt.degrees })),
    verdict("place", place.verdict, ""),
  ];
}

function verdict(what, word, figure) {
  return make(
    "li",
    { "data-kind": word === "good" ? "good" : "bad" },
    make("b", { text: translate(`status.${what}`) }),
    make("span", { text: [translate(`status.${what}.${word}`), figure].filter(Boolean).join(", ") }),
  );
}
