// Cards to choose from: a button with an image for each.

import { imageElement, make, referenceUrl } from "./page.js";
import { translate } from "./words.js";

/** Return the known parts of "Set B1 · No. 7", or the card's id if there are none. */
export function whereFrom({ set, number, card_id: cardId }) {
  const parts = [set && translate("card.set", { set }), number && translate("card.number", { number })].filter(Boolean);
  return parts.length > 0 ? parts.join(" · ") : (cardId ?? "");
}

/** Return buttons for cards ({card_id, name, set?, number?}). `choose` is called with the card whose button is pressed. */
export function choiceButtons(cards, choose) {
  return cards.map((card) => {
    const name = card.name ?? card.card_id;
    const where = whereFrom(card);
    return make(
      "button",
      { type: "button", class: "choice", "data-card": card.card_id, "aria-label": translate("correct.pick", { name, where }), onclick: () => choose(card) },
      make("span", { class: "frame" }, imageElement(referenceUrl(card.card_id), "", { loading: "lazy" })),
      make("span", { class: "choice-words" }, make("b", { text: name }), make("small", { text: where })),
    );
  });
}
