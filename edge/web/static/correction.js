// The correction dialog: the candidates, a search in the index, and adding a card that the index does not have.

import { ApiError, get, post } from "./api.js";
import { choiceButtons } from "./choices.js";
import { Keyboard } from "./keyboard.js";
import { cropUrl, imageElement, toast } from "./page.js";
import { translate } from "./words.js";

const TYPING_MS = 180;
const MOST_FOUND = 24;

/** Publish the right card of an event; `card` is {card_id, name}. Shows a message and returns whether it succeeded. */
export async function publishCorrection(event, card) {
  try {
    await post("/api/corrections", { event_id: event.event_id, card_id: card.card_id });
    toast(translate("correct.done", { name: card.name ?? card.card_id }), "good");
    return true;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    toast(error.message, "bad");
    return false;
  }
}

/** Return an id for a new card from its set and number or its name. The prefix keeps it apart from the ids of the index. */
function proposedId({ name, set, number }) {
  const words = [set, number].every(Boolean) ? `${set}-${number}` : name;
  const plain = words.normalize("NFKD").replace(/[^\w\s-]/g, "").trim().replace(/\s+/g, "-");
  return plain ? `own-${plain}`.slice(0, 60) : "";
}

export class Correction {
  #dialog = document.getElementById("correction");
  #find = (selector) => this.#dialog.querySelector(selector);
  #event = null;
  #typing = 0;
  #searches = 0;

  constructor() {
    const field = this.#find("#search input");
    field.addEventListener("input", () => {
      clearTimeout(this.#typing);
      this.#typing = setTimeout(() => this.#search(field.value.trim()), TYPING_MS);
    });
    this.#find("#search").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#search(field.value.trim());
    });
    this.#find("#open-add").addEventListener("click", () => this.#showAddForm(true));
    this.#find("#close-add").addEventListener("click", () => this.#showAddForm(false));
    this.#prepareAddForm(this.#find("#add"));
    new Keyboard(this.#find(".keyboard"), this.#dialog);
  }

  /** Open the dialog for an event. It stays with this event while other cards are shown. */
  open(event) {
    this.#event = event;
    this.#find(".seen").replaceChildren(imageElement(cropUrl(event.event_id), translate("picture.seen")));
    this.#find("#search input").value = "";
    this.#showAddForm(false);
    this.#showCandidates();
    this.#dialog.showModal();
  }

  #showCandidates() {
    const others = this.#event.candidates.filter((card) => card.card_id !== this.#event.card_id);
    this.#show(others, others.length > 0 ? translate("correct.candidates") : "");
  }

  #show(cards, text) {
    this.#find(".found").textContent = text;
    this.#find(".choice-list").replaceChildren(...choiceButtons(cards, (card) => this.#choose(card)));
  }

  async #choose(card) {
    if (await publishCorrection(this.#event, card)) this.#dialog.close();
  }

  async #search(words) {
    const number = (this.#searches += 1);
    if (words === "") return this.#showCandidates();
    try {
      const found = await get(`/api/search?q=${encodeURIComponent(words)}&limit=${MOST_FOUND}`);
      if (number !== this.#searches) return; // the response to an older search
      this.#show(found, found.length > 0 ? translate("correct.results", { count: found.length }) : translate("correct.nothing"));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#show([], error.message);
    }
  }

  #showAddForm(wanted) {
    this.#dialog.classList.toggle("adding", wanted);
    const form = this.#find("#add");
    form.hidden = !wanted;
    this.#find("#open-add").hidden = wanted;
    this.#find("#search").hidden = this.#find(".found").hidden = this.#find(".choice-list").hidden = wanted;
    form.querySelector(".error").textContent = "";
    if (!wanted) return;
    form.reset();
    delete form.card_id.dataset.chosen;
    form.elements.name.focus();
  }

  #prepareAddForm(form) {
    form.addEventListener("input", ({ target }) => {
      if (target.name === "card_id") target.dataset.chosen = "yes";
      else if (!form.card_id.dataset.chosen) form.card_id.value = proposedId(Object.fromEntries(new FormData(form)));
    });
    form.addEventListener("submit", async (submit) => {
      submit.preventDefault();
      const fields = Object.fromEntries([...new FormData(form)].filter(([, value]) => value.trim() !== ""));
      try {
        await post("/api/cards", { event_id: this.#event.event_id, ...fields });
        toast(translate("add.done", { name: fields.name }), "good");
        this.#dialog.close();
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        form.querySelector(".error").textContent = error.message;
      }
    });
  }
}
