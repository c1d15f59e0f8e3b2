// The page's texts in the reader's language.

import { languages } from "./texts.js";

const wanted = [new URLSearchParams(location.search).get("lang"), ...navigator.languages].filter(Boolean);
const code = wanted.map((tag) => tag.toLowerCase().split("-")[0]).find((tag) => tag in languages) ?? "en";
const texts = { ...languages.en, ...languages[code] };

export const language = code;

/** The text of a key, its {placeholders} filled in. An unknown key is a bug and is thrown. */
export function say(key, values = {}) {
  if (!(key in texts)) throw new Error(`texts.js has no text ${key}`);
  return texts[key].replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}

/** Whether there is a text for a key that was made from data, like a reason of the scanner. */
export function knows(key) {
  return key in texts;
}

/** Put texts into markup: data-text is an element's text, data-label its accessible name and tooltip, data-hint a field's placeholder. */
export function putTexts(root = document) {
  document.documentElement.lang = code;
  for (const element of root.querySelectorAll("[data-text]")) element.textContent = say(element.dataset.text);
  for (const element of root.querySelectorAll("[data-hint]")) element.placeholder = say(element.dataset.hint);
  for (const element of root.querySelectorAll("[data-label]")) label(element, say(element.dataset.label));
}

export function label(element, text) {
  element.setAttribute("aria-label", text);
  if (element.matches("button, a")) element.title = text;
}

const clock = new Intl.DateTimeFormat(code, { hour: "2-digit", minute: "2-digit" });

/** An instant of the scanner as a time of day. */
export function timeOfDay(instant) {
  return clock.format(new Date(instant));
}

/** A length of time in the largest unit that says enough. */
export function duration(seconds) {
  if (seconds < 120) return say("value.seconds", { count: seconds < 10 ? seconds.toFixed(1) : Math.round(seconds) });
  if (seconds < 7200) return say("value.minutes", { count: Math.round(seconds / 60) });
  if (seconds < 172800) return say("value.hours", { count: Math.round(seconds / 3600) });
  return say("value.days", { count: Math.round(seconds / 86400) });
}
