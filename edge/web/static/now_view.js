// The card that was counted last, or that is selected: large, with what happened to it.

import { choiceButtons, whereFrom } from "./choices.js";
import { details, money } from "./fields.js";
import { cropUrl, icon, imageElement, make, referenceUrl } from "./page.js";
import { translate } from "./words.js";

const BADGES = { counted: "check", moved: "person", again: "again", waiting: "question", to_confirm: "question", outside: "cross", full: "warning", paused: "pause", idle: "card", selected: "card" };
const MOST_CANDIDATES = 5;

/** Return what became of a card in words: "Counted, 4th", "Laid down again, not counted". */
export function outcomeText(outcome) {
  const key = outcome.kind === "counted" && outcome.count > 1 ? "outcome.counted.more" : `outcome.${outcome.kind}`;
  const wanted = outcome.wanted > 0 ? ` ${translate("outcome.wanted", { count: outcome.wanted })}` : "";
  const owned = outcome.owned > 0 ? ` ${translate("outcome.owned", { count: outcome.owned })}` : "";
  return translate(key, { count: outcome.count, before: outcome.count - 1 }) + wanted + owned;
}

export class NowView {
  #find = (selector) => document.querySelector(`.now ${selector}`);

  /** `settle(line, card)` names a waiting card; `actions` are the buttons {icon, text, title?, run} of the toolbar. */
  constructor(model, settle, actions) {
    this.model = model;
    this.settle = settle;
    this.line = null;
    this.outcome = null;
    const buttons = actions.map(({ icon: name, text, title, run }) => {
      const button = make("button", { type: "button", "data-action": text, onclick: run }, icon(name), make("span", { text: translate(text) }));
      button.title = translate(title ?? text);
      return button;
    });
    this.#find(".toolbar").replaceChildren(...buttons);
    this.showIdle();
  }

  showIdle() {
    this.line = this.outcome = null;
    this.#verdict("idle", translate("verdict.idle"));
    this.#write(translate("counter.idle"), "", "", null, "");
    this.#find(".frame").replaceChildren();
    this.#candidates(null);
  }

  /** Show what became of a card event. */
  showOutcome(outcome, line) {
    this.outcome = outcome;
    this.#verdict(outcome.kind, outcomeText(outcome));
    this.#flash();
    if (line) return this.#show(line, outcome.bin);
    this.line = null;
    this.#write(outcome.name ?? outcome.card_id ?? translate("counter.unnamed"), "", "", null, outcome.count ? `${outcome.count}×` : "");
    this.#find(".frame").replaceChildren(imageElement(cropUrl(outcome.event_id), translate("picture.seen")));
    this.#candidates(null);
  }

  #flash() {
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    this.#find(".now-card").animate({ background: ["color-mix(in srgb, var(--accent) 38%, var(--surface))", "var(--surface)"] }, { duration: 600, easing: "ease-out" });
  }

  /** Show a line that a person selected, or that was changed. */
  showLine(line) {
    if (this.line?.id !== line.id || !this.outcome) {
      this.outcome = null;
      this.#verdict(line.waiting ? "waiting" : "selected", translate(line.waiting ? "outcome.waiting" : "outcome.selected"));
    }
    this.#show(line, line.bin);
  }

  #show(line, bin) {
    this.line = line;
    if (line.waiting) this.#write(translate("counter.unnamed"), "", "", null, "?");
    else {
      const price = money(this.model.prices.get(line.id), this.model.totals.currency);
      const where = [whereFrom(line), line.rarity].filter(Boolean).join(" · ");
      this.#write(line.name ?? line.card_id, where, [details({ ...line, bin: null }), price].filter(Boolean).join(" · "), bin, `${this.model.count(line.card_id)}×`);
    }
    this.#find(".frame").replaceChildren(line.waiting ? imageElement(cropUrl(line.event_id), translate("picture.seen")) : imageElement(referenceUrl(line.card_id), translate("picture.of", { name: line.name ?? line.card_id })));
    this.#candidates(line.waiting ? line : null);
  }

  #verdict(kind, text) {
    document.body.dataset.outcome = kind;
    this.#find(".badge").replaceChildren(icon(BADGES[kind]));
    this.#find(".verdict-text").textContent = text;
  }

  #write(name, printing, detail, bin, times) {
    const heading = this.#find(".name");
    heading.textContent = name;
    heading.classList.toggle("long", name.length > 22);
    this.#find(".printing").textContent = printing;
    this.#find(".details").textContent = detail;
    this.#find(".bin").hidden = !bin;
    this.#find(".bin").textContent = bin ?? "";
    this.#find(".times").textContent = times;
  }

  #candidates(line) {
    const cards = (line?.candidates ?? []).slice(0, MOST_CANDIDATES);
    this.#find(".candidates").hidden = cards.length === 0;
    this.#find(".choice-list").replaceChildren(...choiceButtons(cards, (card) => this.settle(line, card)));
  }
}
