// A dialog that finds a card of the index by name or number.

import { ApiError, get } from "./api.js";
import { choiceButtons } from "./choices.js";
import { translate } from "./words.js";

const TYPING_MS = 150;
const MOST_FOUND = 24;

export class CardPicker {
  #dialog = document.getElementById("search-dialog");
  #find = (selector) => this.#dialog.querySelector(selector);
  #searches = 0;
  #typing = 0;
  #chosen = null;
  #found = [];

  constructor() {
    const field = this.#find("input");
    field.addEventListener("input", () => {
      clearTimeout(this.#typing);
      this.#typing = setTimeout(() => this.#search(field.value.trim()), TYPING_MS);
    });
    this.#find(".search").addEventListener("submit", async (event) => {
      event.preventDefault();
      clearTimeout(this.#typing);
      await this.#search(field.value.trim());
      if (this.#found.length > 0) this.#choose(this.#found[0]);
    });
  }

  /** Open the dialog; `chosen(card)` is called with the card that a person chooses. Candidates are shown until something is typed. */
  open(title, chosen, candidates = []) {
    this.#chosen = chosen;
    this.candidates = candidates;
    this.#find("h2").textContent = title;
    this.#find("input").value = "";
    this.#show(candidates, "");
    this.#dialog.showModal();
    this.#find("input").focus();
  }

  #choose(card) {
    this.#dialog.close();
    this.#chosen(card);
  }

  #show(cards, text) {
    this.#found = cards;
    this.#find(".found").textContent = text;
    this.#find(".choice-list").replaceChildren(...choiceButtons(cards, (card) => this.#choose(card)));
  }

  async #search(words) {
    const number = (this.#searches += 1);
    if (words === "") return this.#show(this.candidates, "");
    try {
      const found = await get(`/api/search?q=${encodeURIComponent(words)}&limit=${MOST_FOUND}`);
      if (number !== this.#searches) return; // the response to an older search
      this.#show(found, translate(found.length > 0 ? "correct.results" : "correct.nothing", { count: found.length }));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#show([], error.message);
    }
  }
}
