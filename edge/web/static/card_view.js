// The large view of one card: its name, how certain it is, and the alternatives.

import { certainty } from "./certainty.js";
import { choiceButtons, whereFrom } from "./choices.js";
import { cropUrl, icon, imageElement, referenceUrl } from "./page.js";
import { knows, label, translate } from "./words.js";

const BADGES = { idle: "card", identified: "check", corrected: "person", uncertain: "question", unknown: "cross" };
const MOST_CHOICES = 3;

/** Return the name to show for an event: of its card, or of the best candidate. */
export function nameOf(event) {
  if (event.card_id !== null) return event.name ?? event.card_id;
  const first = event.candidates[0];
  if (event.type === "uncertain" && first) return translate("name.perhaps", { name: first.name ?? first.card_id });
  return translate("name.unknown");
}

/** Return why a card was not named, or what is still open; empty if nothing is. */
export function whyOf(event) {
  if (event.type === "corrected") return "";
  if (event.type === "identified") return event.printings.length > 1 ? translate("why.printings") : "";
  return knows(`why.${event.reason}`) ? translate(`why.${event.reason}`) : (event.reason ?? "");
}

/** Return the other cards that it may be: other printings of a named card, the candidates of an unnamed one. */
export function alternatives(event) {
  if (event.type === "corrected") return [];
  if (event.card_id === null) return event.candidates;
  return event.printings.filter((id) => id !== event.card_id).map((id) => ({ card_id: id, name: event.name }));
}

export class CardView {
  #find = (selector) => document.querySelector(selector);
  #paused = false;

  /** `choose(event, card)` publishes a correction; `open(event)` opens the search for the right card. */
  constructor(choose, open) {
    this.choose = choose;
    this.event = null;
    this.#find("#wrong").addEventListener("click", () => this.event && open(this.event));
  }

  set paused(paused) {
    this.#paused = paused;
    if (this.event === null) this.showIdle();
  }

  /** Show that no card is in view. */
  showIdle() {
    this.event = null;
    this.#verdict("idle", translate("verdict.idle"));
    this.#write(translate(this.#paused ? "name.idle.paused" : "name.idle"), "", translate(this.#paused ? "idle.help.paused" : "idle.help"));
    this.#find(".sure").hidden = this.#find(".choices").hidden = this.#find("#wrong").hidden = true;
    this.#find("#reference .frame").replaceChildren();
    this.#find("#crop .frame").replaceChildren();
  }

  /** Show an event that is not a removal. `threshold` is the lowest verification of a named card. */
  show(event, threshold) {
    this.event = event;
    this.#verdict(event.type, translate(`verdict.${event.type}`));
    this.#write(nameOf(event), event.card_id === null ? "" : whereFrom(event), whyOf(event));
    this.#sure(certainty(event, threshold));
    this.#choices(event);
    this.#images(event);
    const button = this.#find("#wrong");
    button.hidden = false;
    button.replaceChildren(icon(event.card_id === null ? "list" : "cross"), translate(event.card_id === null ? "action.choose" : "action.wrong"));
    document.body.classList.remove("flash");
    void document.body.offsetWidth; // the animation restarts only after a layout without it
    document.body.classList.add("flash");
  }

  /** Mark the shown card as removed; it remains visible. */
  markRemoved() {
    document.body.classList.add("gone");
    this.#find(".verdict .left").hidden = false;
  }

  #verdict(type, text) {
    document.body.dataset.type = type;
    document.body.classList.remove("gone");
    this.#find(".verdict .left").hidden = true;
    this.#find(".verdict .badge").replaceChildren(icon(BADGES[type]));
    this.#find(".verdict-text").textContent = text;
  }

  #write(name, printing, why) {
    const heading = this.#find(".name");
    heading.textContent = name;
    heading.classList.toggle("long", name.length > 22);
    this.#find(".printing").textContent = printing;
    this.#find(".why").textContent = why;
  }

  #sure({ level, word }) {
    const place = this.#find(".sure");
    const words = translate(word);
    place.hidden = false;
    place.dataset.level = level;
    this.#find(".sure-text").textContent = words;
    label(this.#find(".steps"), translate("sure.label", { words, level }));
  }

  #choices(event) {
    const cards = alternatives(event).slice(0, MOST_CHOICES);
    this.#find(".words .choices").hidden = cards.length === 0;
    this.#find(".words .choices h3").textContent = translate(event.card_id === null ? "choices.candidates" : "choices.printings");
    this.#find(".words .choice-list").replaceChildren(...choiceButtons(cards, (card) => this.choose(event, card)));
  }

  #images(event) {
    const known = event.card_id ?? (event.type === "uncertain" ? event.candidates[0]?.card_id : undefined);
    const reference = known ? [imageElement(referenceUrl(known), translate("picture.of", { name: nameOf(event) }))] : [];
    this.#find("#reference .frame").replaceChildren(...reference);
    this.#find("#crop .frame").replaceChildren(imageElement(cropUrl(event.event_id), translate("picture.seen")));
  }
}
