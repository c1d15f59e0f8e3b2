// The live camera image with the outline and the name of each card.

import { drawn } from "./page.js";
import { translate } from "./words.js";

const STREAM = "/api/preview.mjpg?width=960";
const STALE_MS = 1500;

export class Preview {
  #image;
  #overlay;
  #guide;
  #marks = drawn("g", { class: "marks" });
  #stale = 0;

  /** `place` contains an <img> and an <svg>; `guide` returns the elements below the outlines for a frame size. */
  constructor(place, guide = () => []) {
    this.#image = place.querySelector("img");
    this.#overlay = place.querySelector("svg");
    this.#guide = drawn("g", { class: "guide" });
    this.#overlay.append(this.#guide, this.#marks);
    this.drawGuide = guide;
    this.#image.addEventListener("load", () => place.classList.add("live"));
    this.#image.addEventListener("error", () => place.classList.remove("live"));
    document.addEventListener("visibilitychange", () => (document.hidden ? this.stop() : this.start()));
    addEventListener("pagehide", () => this.stop());
    this.place = place;
  }

  /** Start or restart the image. The number makes the browser open a new request. */
  start() {
    if (!document.hidden) this.#image.src = `${STREAM}&from=${Date.now()}`;
  }

  stop() {
    this.#image.removeAttribute("src");
    this.place.classList.remove("live");
    this.#marks.replaceChildren();
  }

  /** Draw the outlines of one frame. They disappear if no others follow. */
  show({ frame, outlines }) {
    const { width, height } = frame;
    this.#overlay.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.#guide.replaceChildren(...this.drawGuide(frame));
    this.#marks.replaceChildren(...outlines.map((outline) => mark(outline, width, height)));
    clearTimeout(this.#stale);
    this.#stale = setTimeout(() => this.#marks.replaceChildren(), STALE_MS);
  }
}

function labelOf(status, name) {
  if (status === "tentative") return translate("preview.looking");
  return status === "uncertain" || status === "unknown" ? translate(`strip.${status}`) : (name ?? "");
}

function mark({ quad, status, name }, width, height) {
  const size = Math.round(Math.max(width / 34, height / 19));
  const text = labelOf(status, name);
  const middle = quad.reduce((sum, [x]) => sum + x, 0) / 4;
  const top = Math.min(...quad.map(([, y]) => y));
  const half = Math.min(width / 2, (text.length * size * 0.64 + size) / 2);
  const x = Math.min(Math.max(middle, half), width - half);
  const y = Math.min(Math.max(top - size * 0.75, size * 1.1), height - size * 0.6);
  return drawn(
    "g",
    { class: "mark", "data-status": status },
    drawn("polygon", { points: quad.map((corner) => corner.join(",")).join(" "), "stroke-width": Math.max(3, width / 260) }),
    drawn("circle", { cx: quad[0][0], cy: quad[0][1], r: Math.max(4, width / 150) }),
    drawn("rect", { x: x - half, y: y - size * 0.95, width: 2 * half, height: size * 1.5, rx: size * 0.4 }),
    drawn("text", { x, y: y + size * 0.16, "font-size": size, "text-anchor": "middle" }, text),
  );
}
