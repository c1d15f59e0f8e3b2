// The texts of the page in the user's language.

import { languages } from "./texts.js";

const CHOSEN = "cardedge.language";
const wanted = [new URLSearchParams(location.search).get("lang"), localStorage.getItem(CHOSEN), ...navigator.languages].filter(Boolean);
const code = wanted.map((tag) => tag.toLowerCase().split("-")[0]).find((tag) => tag in languages) ?? "en";
const texts = { ...languages.en, ...languages[code] };

export const language = code;
export const languageCodes = Object.keys(languages);

/** Show the page in another language, now and in future. */
export function chooseLanguage(other) {
  localStorage.setItem(CHOSEN, other);
  const address = new URL(location);
  address.searchParams.delete("lang");
  location.assign(address);
}

/** Return the text of a key with its {placeholders} filled in. Without a `fallback` an unknown key throws: it is a bug. */
export function translate(key, values = {}, fallback = undefined) {
  if (!(key in texts) && fallback !== undefined) return fallback;
  if (!(key in texts)) throw new Error(`texts.js has no text ${key}`);
  return texts[key].replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}

/** Return whether there is a text for a key that was composed from data, such as a reason from the scanner. */
export function knows(key) {
  return key in texts;
}

/** Set the texts of the markup: data-text is the text of an element, data-label its accessible name and tooltip, data-hint the placeholder of a field. */
export function applyTexts(root = document) {
  document.documentElement.lang = code;
  for (const element of root.querySelectorAll("[data-text]")) element.textContent = translate(element.dataset.text);
  for (const element of root.querySelectorAll("[data-hint]")) element.placeholder = translate(element.dataset.hint);
  for (const element of root.querySelectorAll("[data-label]")) label(element, translate(element.dataset.label));
}

export function label(element, text) {
  element.setAttribute("aria-label", text);
  if (element.matches("button, a")) element.title = text;
}

const clock = new Intl.DateTimeFormat(code, { hour: "2-digit", minute: "2-digit" });

/** Return the local time of day of a timestamp. */
export function timeOfDay(instant) {
  return clock.format(new Date(instant));
}

/** Return a duration in a unit that gives a readable number. */
export function duration(seconds) {
  if (seconds < 120) return translate("value.seconds", { count: seconds < 10 ? seconds.toFixed(1) : Math.round(seconds) });
  if (seconds < 7200) return translate("value.minutes", { count: Math.round(seconds / 60) });
  if (seconds < 172800) return translate("value.hours", { count: Math.round(seconds / 3600) });
  return translate("value.days", { count: Math.round(seconds / 86400) });
}
