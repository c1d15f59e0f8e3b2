// One card, large: what it is, how sure that is, what else it may be.

import { certainty } from "./certainty.js";
import { choiceButtons, whereFrom } from "./choices.js";
import { cardPicture, cropPicture, icon, picture } from "./page.js";
import { knows, label, say } from "./words.js";

const BADGES = { idle: "card", identified: "check", corrected: "person", uncertain: "question", unknown: "cross" };
const MOST_CHOICES = 3;

/** What an event is called by: its card, or the card it perhaps is. */
export function nameOf(event) {
  if (event.card_id !== null) return event.name ?? event.card_id;
  const first = event.candidates[0];
  if (event.type === "uncertain" && first) return say("name.perhaps", { name: first.name ?? first.card_id });
  return say("name.unknown");
}

/** Why a card was not named, or what about it is open; empty when all is clear. */
export function whyOf(event) {
  if (event.type === "corrected") return "";
  if (event.type === "identified") return event.printings.length > 1 ? say("why.printings") : "";
  return knows(`why.${event.reason}`) ? say(`why.${event.reason}`) : (event.reason ?? "");
}

/** The cards it may be besides the one it is named: other printings of a named card, the candidates of another. */
export function alternatives(event) {
  if (event.type === "corrected") return [];
  if (event.card_id === null) return event.candidates;
  return event.printings.filter((id) => id !== event.card_id).map((id) => ({ card_id: id, name: event.name }));
}

export class CardView {
  #find = (selector) => document.querySelector(selector);
  #paused = false;

  /** `choose(event, card)` puts right; `open(event)` opens the search for the right card. */
  constructor(choose, open) {
    this.choose = choose;
    this.event = null;
    this.#find("#wrong").addEventListener("click", () => this.event && open(this.event));
  }

  set paused(paused) {
    this.#paused = paused;
    if (this.event === null) this.rest();
  }

  /** Nothing to show. */
  rest() {
    this.event = null;
    this.#verdict("idle", say("verdict.idle"));
    this.#write(say(this.#paused ? "name.idle.paused" : "name.idle"), "", say(this.#paused ? "idle.help.paused" : "idle.help"));
    this.#find(".sure").hidden = this.#find(".choices").hidden = this.#find("#wrong").hidden = true;
    this.#find("#reference .frame").replaceChildren();
    this.#find("#crop .frame").replaceChildren();
  }

  /** Show an event that is not a removal; `threshold` says what is sure. */
  show(event, threshold) {
    this.event = event;
    this.#verdict(event.type, say(`verdict.${event.type}`));
    this.#write(nameOf(event), event.card_id === null ? "" : whereFrom(event), whyOf(event));
    this.#sure(certainty(event, threshold));
    this.#choices(event);
    this.#pictures(event);
    const button = this.#find("#wrong");
    button.hidden = false;
    button.replaceChildren(icon(event.card_id === null ? "list" : "cross"), say(event.card_id === null ? "action.choose" : "action.wrong"));
    document.body.classList.remove("flash");
    void document.body.offsetWidth; // the animation begins anew only after a layout without it
    document.body.classList.add("flash");
  }

  /** The card shown was taken away; it stays to be read. */
  leave() {
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
    const words = say(word);
    place.hidden = false;
    place.dataset.level = level;
    this.#find(".sure-text").textContent = words;
    label(this.#find(".steps"), say("sure.label", { words, level }));
  }

  #choices(event) {
    const cards = alternatives(event).slice(0, MOST_CHOICES);
    this.#find(".words .choices").hidden = cards.length === 0;
    this.#find(".words .choices h3").textContent = say(event.card_id === null ? "choices.candidates" : "choices.printings");
    this.#find(".words .choice-list").replaceChildren(...choiceButtons(cards, (card) => this.choose(event, card)));
  }

  #pictures(event) {
    const known = event.card_id ?? (event.type === "uncertain" ? event.candidates[0]?.card_id : undefined);
    const reference = known ? [picture(cardPicture(known), say("picture.of", { name: nameOf(event) }))] : [];
    this.#find("#reference .frame").replaceChildren(...reference);
    this.#find("#crop .frame").replaceChildren(picture(cropPicture(event.event_id), say("picture.seen")));
  }
}
