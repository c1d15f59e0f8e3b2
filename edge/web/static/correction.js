// "Not this one": the candidates, a search of the whole index, and a card that the index lacks.

import { ApiError, ask, tell } from "./api.js";
import { choiceButtons } from "./choices.js";
import { Keyboard } from "./keyboard.js";
import { cropPicture, picture, toast } from "./page.js";
import { say } from "./words.js";

const TYPING_MS = 180;
const MOST_FOUND = 24;

/** Publish what a card really is; `card` is {card_id, name}. Says so, or why it did not work. */
export async function putRight(event, card) {
  try {
    await tell("/api/corrections", { event_id: event.event_id, card_id: card.card_id });
    toast(say("correct.done", { name: card.name ?? card.card_id }), "good");
    return true;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    toast(error.message, "bad");
    return false;
  }
}

/** An identifier for a new card that says where it comes from and is not taken by chance. */
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
  #asked = 0;

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
    this.#find("#open-add").addEventListener("click", () => this.#adding(true));
    this.#find("#close-add").addEventListener("click", () => this.#adding(false));
    this.#prepareAdding(this.#find("#add"));
    new Keyboard(this.#find(".keyboard"), this.#dialog);
  }

  /** Open for an event; it stays this one's, whatever happens under the camera meanwhile. */
  open(event) {
    this.#event = event;
    this.#find(".seen").replaceChildren(picture(cropPicture(event.event_id), say("picture.seen")));
    this.#find("#search input").value = "";
    this.#adding(false);
    this.#offerCandidates();
    this.#dialog.showModal();
  }

  #offerCandidates() {
    const others = this.#event.candidates.filter((card) => card.card_id !== this.#event.card_id);
    this.#offer(others, others.length > 0 ? say("correct.candidates") : "");
  }

  #offer(cards, text) {
    this.#find(".found").textContent = text;
    this.#find(".choice-list").replaceChildren(...choiceButtons(cards, (card) => this.#choose(card)));
  }

  async #choose(card) {
    if (await putRight(this.#event, card)) this.#dialog.close();
  }

  async #search(words) {
    const number = (this.#asked += 1);
    if (words === "") return this.#offerCandidates();
    try {
      const found = await ask(`/api/search?q=${encodeURIComponent(words)}&limit=${MOST_FOUND}`);
      if (number !== this.#asked) return; // an older question answered late
      this.#offer(found, found.length > 0 ? say("correct.results", { count: found.length }) : say("correct.nothing"));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#offer([], error.message);
    }
  }

  #adding(wanted) {
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

  #prepareAdding(form) {
    form.addEventListener("input", ({ target }) => {
      if (target.name === "card_id") target.dataset.chosen = "yes";
      else if (!form.card_id.dataset.chosen) form.card_id.value = proposedId(Object.fromEntries(new FormData(form)));
    });
    form.addEventListener("submit", async (submit) => {
      submit.preventDefault();
      const fields = Object.fromEntries([...new FormData(form)].filter(([, value]) => value.trim() !== ""));
      try {
        await tell("/api/cards", { event_id: this.#event.event_id, ...fields });
        toast(say("add.done", { name: fields.name }), "good");
        this.#dialog.close();
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        form.querySelector(".error").textContent = error.message;
      }
    });
  }
}
