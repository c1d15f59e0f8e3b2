// The live camera image with the outline and the name of each card.

import { drawn } from "./page.js";
import { translate } from "./words.js";

const STREAM = "/api/preview.mjpg?width=960";
const STALE_MS = 1500;
const SMALLEST_TEXT = 0.6; // share of the size of a name where it has room

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
    const labels = outlines.map((outline) => label(outline, width, height, outlines.length > 1));
    this.#marks.replaceChildren(...outlines.map((outline) => shape(outline, width)), ...labels);
    clearTimeout(this.#stale);
    this.#stale = setTimeout(() => this.#marks.replaceChildren(), STALE_MS);
  }
}

function labelOf(status, name) {
  if (status === "tentative") return translate("preview.looking");
  return status === "uncertain" || status === "unknown" ? translate(`strip.${status}`) : (name ?? "");
}

/** Return how a text fits into `room`, in pixels of the frame: first smaller, then without its end. A letter is 0.64 of its size wide on average. */
function fitted(text, size, room) {
  const length = (letters, at) => letters * at * 0.64 + at;
  const at = size * Math.min(1, Math.max(SMALLEST_TEXT, room / length(text.length, size)));
  const letters = Math.max(2, Math.floor((room / at - 1) / 0.64));
  const shown = text.length > letters ? `${text.slice(0, letters - 1).trimEnd()}…` : text;
  return { shown, at, half: length(shown.length, at) / 2 };
}

function shape({ quad, status, name }, width) {
  return drawn(
    "g",
    { class: "mark", "data-status": status },
    drawn("title", {}, labelOf(status, name)),
    drawn("polygon", { points: quad.map((corner) => corner.join(",")).join(" "), "stroke-width": Math.max(3, width / 260) }),
    drawn("circle", { cx: quad[0][0], cy: quad[0][1], r: Math.max(4, width / 150) }),
  );
}

/** Return the name above a card; among other cards it is no wider than its own, so that it does not cover another name. */
function label({ quad, status, name }, width, height, isAmongOthers) {
  const size = Math.round(Math.max(width / 34, height / 19));
  const columns = quad.map(([x]) => x);
  const [left, right] = [Math.min(...columns), Math.max(...columns)];
  const top = Math.min(...quad.map(([, y]) => y));
  const { shown, at, half } = fitted(labelOf(status, name), size, isAmongOthers ? right - left : width);
  const x = Math.min(Math.max((left + right) / 2, half), width - half);
  const y = Math.min(Math.max(top - at * 0.75, at * 1.1), height - at * 0.6);
  return drawn(
    "g",
    { class: "mark", "data-status": status },
    drawn("rect", { x: x - half, y: y - at * 0.95, width: 2 * half, height: at * 1.5, rx: at * 0.4 }),
    drawn("text", { x, y: y + at * 0.16, "font-size": at, "text-anchor": "middle" }, shown),
  );
}
