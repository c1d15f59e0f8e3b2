// The list of this session: counts, undo, download.

import { ApiError, get, post } from "./api.js";
import { whereFrom } from "./choices.js";
import { imageElement, make, referenceUrl, toast } from "./page.js";
import { timeOfDay, translate } from "./words.js";

const SURE_MS = 4000;

export class Session {
  #dialog = document.getElementById("session");
  #count = document.getElementById("session-count");
  #sureTimer = 0;
  #total = 0;
  #revision = 0;
  #rows = new Map();

  constructor() {
    document.getElementById("open-session").addEventListener("click", () => this.#dialog.showModal());
    document.getElementById("undo").addEventListener("click", () => this.#run("/api/session/undo"));
    document.getElementById("clear").addEventListener("click", ({ currentTarget }) => this.#clear(currentTarget));
    // a click outside the sheet closes it
    this.#dialog.addEventListener("click", ({ target }) => target === this.#dialog && this.#dialog.close());
  }

  async load() {
    this.show(await get("/api/session"));
  }

  /** Show the whole list. */
  show({ since, total, cards, revision }) {
    this.#revision = revision;
    this.#rows = new Map(cards.map((card) => [card.card_id, row(card)]));
    this.#dialog.querySelector(".session-list").replaceChildren(...this.#rows.values());
    this.#dialog.querySelector(".since").textContent = since ? translate("session.since", { time: timeOfDay(since) }) : "";
    this.#showTotals(total);
  }

  /** Apply a change; load the whole list if one before it was missed. */
  async change({ revision, total, cards }) {
    if (revision <= this.#revision) return;
    if (revision !== this.#revision + 1) return this.load();
    this.#revision = revision;
    for (const card of cards) this.#change(card);
    this.#showTotals(total);
  }

  #change(card) {
    const before = this.#rows.get(card.card_id);
    if (card.count === 0) {
      before?.remove();
      this.#rows.delete(card.card_id);
      return;
    }
    const after = row(card);
    if (before) before.replaceWith(after);
    else this.#dialog.querySelector(".session-list").append(after);
    this.#rows.set(card.card_id, after);
  }

  #showTotals(total) {
    this.#total = total;
    this.#count.textContent = total;
    const sum = this.#dialog.querySelector(".session-sum");
    sum.querySelector("b").textContent = total === 1 ? translate("session.total.one") : translate("session.total", { count: total });
    sum.querySelector(".different").textContent = translate("session.different", { count: this.#rows.size });
    this.#dialog.classList.toggle("none", total === 0);
    document.getElementById("undo").disabled = document.getElementById("clear").disabled = total === 0;
  }

  /** Clear the list; the button asks for confirmation first. */
  #clear(button) {
    clearTimeout(this.#sureTimer);
    const ready = button.dataset.sure === "yes";
    button.dataset.sure = ready ? "" : "yes";
    button.textContent = translate(ready ? "session.clear" : "session.clear.sure", { count: this.#total });
    if (ready) this.#run("/api/session/clear");
    else this.#sureTimer = setTimeout(() => this.#resetClear(button), SURE_MS);
  }

  #resetClear(button) {
    button.dataset.sure = "";
    button.textContent = translate("session.clear");
  }

  async #run(path) {
    try {
      this.show(await post(path));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      toast(error.message, "bad");
    }
  }
}

function row(card) {
  return make(
    "li",
    { "data-card": card.card_id },
    make("span", { class: "frame" }, imageElement(referenceUrl(card.card_id), "", { loading: "lazy" })),
    make("span", { class: "choice-words" }, make("b", { text: card.name ?? card.card_id }), make("small", { text: whereFrom(card) })),
    make("span", { class: "times", text: `${card.count}×` }),
  );
}
