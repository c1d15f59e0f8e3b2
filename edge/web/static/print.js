// A list on paper, A4, with a picture of each card.

import { get } from "./api.js";
import { whereFrom } from "./choices.js";
import { cardCount, details, money } from "./fields.js";
import { imageElement, make, referenceUrl } from "./page.js";
import { applyTexts, language, translate } from "./words.js";

applyTexts();
const wanted = new URLSearchParams(location.search).get("list") ?? "active";
const { header, update } = await get(`/api/lists/${encodeURIComponent(wanted)}`);
const { currency, value } = update.totals;

function row(line) {
  const price = update.prices[line.id];
  return make(
    "tr",
    {},
    make("td", {}, imageElement(referenceUrl(line.card_id), "")),
    make("td", {}, make("b", { text: line.name ?? line.card_id }), make("small", { text: whereFrom(line) })),
    make("td", { text: details(line) }),
    make("td", { class: "number", text: line.quantity }),
    make("td", { class: "number", text: price === undefined ? "" : money(price * line.quantity, currency) }),
  );
}

document.title = header.name;
document.querySelector("h1").textContent = header.name;
const sum = [new Date(header.since).toLocaleDateString(language), cardCount(update.quantity), money(value, currency)];
document.querySelector(".sum").textContent = sum.filter(Boolean).join(" · ");
document.querySelector("tbody").replaceChildren(...update.put.filter((line) => !line.waiting).map(row));
document.getElementById("print").addEventListener("click", () => print());
