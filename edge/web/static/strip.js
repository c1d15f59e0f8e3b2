// The recent cards, newest first.

import { nameOf } from "./card_view.js";
import { cropUrl, imageElement, make } from "./page.js";
import { timeOfDay, translate } from "./words.js";

const MOST = 24;

export class Strip {
  #place = document.querySelector(".strip");
  #list = document.querySelector(".strip ol");
  #events = [];

  /** `choose(event)` is called with the event whose button is pressed. */
  constructor(choose) {
    this.choose = choose;
  }

  /** Replace the list by these events, newest first. */
  fill(events) {
    this.#events = [];
    for (const event of [...events].reverse()) this.#insert(event);
    this.#draw();
  }

  add(event) {
    this.#insert(event);
    this.#draw();
  }

  /** Return the newest event of a track, or undefined. */
  ofTrack(trackId) {
    return this.#events.find((event) => event.track_id === trackId);
  }

  /** Add an event; it replaces earlier events of the same track. */
  #insert(event) {
    if (event.type === "removed") return;
    const others = this.#events.filter((known) => known.event_id !== event.event_id && known.track_id !== event.track_id);
    this.#events = [event, ...others].slice(0, MOST);
  }

  #draw() {
    this.#place.classList.toggle("none", this.#events.length === 0);
    const known = new Map([...this.#list.children].map((item) => [item.dataset.event, item]));
    this.#list.replaceChildren(...this.#events.map((event) => known.get(event.event_id) ?? this.#item(event)));
  }

  #item(event) {
    const short = event.card_id === null ? translate(`strip.${event.type}`) : nameOf(event);
    const button = make(
      "button",
      { type: "button", "data-type": event.type, "aria-label": `${translate(`verdict.${event.type}`)}: ${nameOf(event)}, ${timeOfDay(event.at)}` },
      make("span", { class: "frame" }, imageElement(cropUrl(event.event_id), "")),
      make("span", { class: "strip-words" }, make("b", { text: short }), make("small", { text: timeOfDay(event.at) })),
    );
    button.addEventListener("click", () => this.choose(event));
    return make("li", { "data-event": event.event_id }, button);
  }
}
