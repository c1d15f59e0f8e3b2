// Help for setting the camera up: focus, light, and where the card lies, live.

import { drawn, make } from "./page.js";
import { guideBox, placement } from "./placement.js";
import { Preview } from "./preview.js";
import { say } from "./words.js";

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

  /** Take what the stream says about one frame. */
  show(seen) {
    this.preview.show(seen);
    if (seen.sharpness !== null) this.#showSharpness(seen.sharpness);
    if (seen.brightness !== null) this.#showBrightness(seen.brightness, seen.clipped ?? 0);
    this.#showPlacement(seen);
  }

  #drawGuide(frame) {
    if (!this.#guide.checked) return [];
    const [x, y, width, height] = guideBox(frame);
    const size = frame.height / 24;
    return [
      drawn("rect", { x, y, width, height, rx: width * 0.05, "stroke-width": frame.width / 320 }),
      drawn("text", { x: frame.width / 2, y: y + height + size * 1.3, "font-size": size, "text-anchor": "middle" }, say("status.guide.label")),
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
    this.#advise(this.#sharpness, verdict === "far" ? "bad" : "good", say(`status.sharpness.${verdict}`));
  }

  #showBrightness(value, clipped) {
    const verdict = value < DARK ? "dark" : value > BRIGHT ? "bright" : clipped > MUCH_GLARE ? "glare" : "good";
    this.#brightness.querySelector(".fill").style.width = `${100 * Math.min(1, value)}%`;
    this.#brightness.querySelector(".number").textContent = value.toFixed(2);
    this.#advise(this.#brightness, verdict === "good" ? "good" : "bad", say(`status.brightness.${verdict}`));
  }

  #advise(meter, kind, text) {
    meter.dataset.kind = kind;
    meter.querySelector(".advice").textContent = text;
  }

  /** Of several cards the largest is judged. */
  #showPlacement({ frame, outlines }) {
    const judged = outlines.map(({ quad }) => placement(quad, frame));
    const largest = judged.sort((one, other) => other.size.share - one.size.share)[0];
    this.#placement.classList.toggle("none", !largest);
    this.#placement.querySelector("ul").replaceChildren(...(largest ? verdicts(largest) : []));
  }
}

function verdicts({ size, tilt, place }) {
  return [
    verdict("size", size.verdict, say("status.of_height", { share: Math.round(size.share * 100) })),
    verdict("tilt", tilt.verdict, say("status.about_degrees", { degrees: tilt.degrees })),
    verdict("place", place.verdict, ""),
  ];
}

function verdict(what, word, figure) {
  return make(
    "li",
    { "data-kind": word === "good" ? "good" : "bad" },
    make("b", { text: say(`status.${what}`) }),
    make("span", { text: [say(`status.${what}.${word}`), figure].filter(Boolean).join(", ") }),
  );
}
