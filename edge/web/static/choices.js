// Cards to choose from, each a button with its picture.

import { cardPicture, make, picture } from "./page.js";
import { say } from "./words.js";

/** "Set B1 · No. 7", as much of it as is known; else the card's identifier. */
export function whereFrom({ set, number, card_id: cardId }) {
  const parts = [set && say("card.set", { set }), number && say("card.number", { number })].filter(Boolean);
  return parts.length > 0 ? parts.join(" · ") : (cardId ?? "");
}

/** Buttons for cards ({card_id, name, set?, number?}); `choose` is called with the one that was pressed. */
export function choiceButtons(cards, choose) {
  return cards.map((card) => {
    const name = card.name ?? card.card_id;
    const where = whereFrom(card);
    return make(
      "button",
      { type: "button", class: "choice", "data-card": card.card_id, "aria-label": say("correct.pick", { name, where }), onclick: () => choose(card) },
      make("span", { class: "frame" }, picture(cardPicture(card.card_id), "", { loading: "lazy" })),
      make("span", { class: "choice-words" }, make("b", { text: name }), make("small", { text: where })),
    );
  });
}
