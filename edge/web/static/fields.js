// Finish, condition and language of a card: their values, names and choices.

import { make } from "./page.js";
import { language, translate } from "./words.js";

export const FINISHES = ["normal", "foil", "etched", "reverse_holo", "holo"];
export const CONDITIONS = ["mint", "near_mint", "excellent", "good", "light_played", "played", "poor"];
export const LANGUAGES = ["en", "de", "fr", "it", "es", "pt", "ja", "ko", "ru", "zhs", "zht"];
const CHINESE = { zhs: "zh-Hans", zht: "zh-Hant" };

const names = new Intl.DisplayNames(language, { type: "language" });

/** Return the name of a language; a text that is no language code stays as it is. */
export function languageName(code) {
  try {
    return names.of(CHINESE[code] ?? code);
  } catch {
    return code;
  }
}

/** Return the value after another one in a cycle. */
export function following(values, value) {
  return values[(values.indexOf(value) + 1) % values.length];
}

/** Return "Foil · NM · de · a note" of a line, without what goes without saying. */
export function details(line) {
  const parts = [
    line.finish === "normal" ? "" : translate(`finish.${line.finish}`),
    translate(`condition.${line.condition}`),
    line.language ?? "",
    line.note,
    line.bin ? translate("counter.in_bin", { bin: line.bin }) : "",
  ];
  return parts.filter(Boolean).join(" · ");
}

/** Return "4 cards". */
export function cardCount(count) {
  return translate(count === 1 ? "session.total.one" : "session.total", { count });
}

/** Return a price with its currency, empty if it is not known. */
export function money(value, currency) {
  if (value === undefined || value === null || !currency) return "";
  return new Intl.NumberFormat(language, { style: "currency", currency }).format(value);
}

/** Return "Bulk: 30 · 12.00 €" for each bin of a list. */
export function binTexts(totals) {
  return totals.bins.map(({ bin, copies, value }) => `${bin ?? translate("counter.no_bin")}: ${[copies, money(value, totals.currency)].filter(Boolean).join(" · ")}`);
}

/** Fill the selects of a form that are named finish, condition and language; `short` where there is little room. */
export function fillChoices(form, short = false) {
  const condition = short ? "condition" : "condition.long";
  const option = (value, text) => make("option", { value, text });
  form.elements.finish.replaceChildren(...FINISHES.map((value) => option(value, translate(`finish.${value}`))));
  form.elements.condition.replaceChildren(...CONDITIONS.map((value) => option(value, translate(`${condition}.${value}`))));
  form.elements.language.replaceChildren(option("", translate(short ? "field.language.auto" : "field.language.card")), ...LANGUAGES.map((value) => option(value, languageName(value))));
}

/** Select the value of a field; one that is not among the choices is added. */
export function choose(select, value) {
  const text = value ?? "";
  if (![...select.options].some((option) => option.value === text)) select.append(make("option", { value: text, text }));
  select.value = text;
}
