// The keys of the counter. A foot pedal or a barcode scanner is a keyboard too.

import { make } from "./page.js";
import { translate } from "./words.js";

const ARROWS = { ArrowUp: "↑", ArrowDown: "↓" };

/** Return the name of a pressed key as it is written in the table of keys: "Ctrl+z", "Shift+F", "Delete". */
function nameOf(event) {
  const modifier = event.ctrlKey || event.metaKey ? "Ctrl+" : event.shiftKey && event.key.length === 1 && event.key !== event.key.toLowerCase() ? "Shift+" : "";
  return modifier + (event.key === " " ? "Space" : event.key);
}

export class Keys {
  /** `table` has {keys: [names], text, run}. Keys pressed in a field or a dialog are left alone, except those that end it. */
  constructor(table) {
    this.table = table;
    this.byName = new Map(table.flatMap((entry) => entry.keys.map((key) => [key, entry])));
    document.addEventListener("keydown", (event) => this.#press(event));
    document.querySelector("#keys-dialog dl").replaceChildren(...table.flatMap(({ keys, text }) => row(keys, text)));
  }

  #press(event) {
    if (event.altKey || event.isComposing || document.querySelector("dialog[open]")) return;
    const field = event.target.closest("input, select, textarea");
    if (field) {
      if (event.key === "Escape") field.blur();
      return;
    }
    if (event.target.closest("button, a") && ["Enter", " "].includes(event.key)) return;
    const entry = this.byName.get(nameOf(event));
    if (!entry || (event.repeat && !entry.repeats)) return;
    event.preventDefault();
    entry.run(event.key);
  }
}

/** Return what is printed on the key of a name, in the language of the page. */
function printed(name) {
  const [, modifier, key] = name.match(/^(?:(Ctrl|Shift)\+)?(.+)$/);
  return `${modifier ? `${translate(`key.${modifier}`)}+` : ""}${ARROWS[key] ?? translate(`key.${key}`, {}, key)}`;
}

function row(keys, text) {
  const caps = keys.flatMap((key) => [make("kbd", { text: printed(key) }), " "]);
  return [make("dt", {}, ...caps), make("dd", { text: translate(text) })];
}
