// An on-screen keyboard, for the kiosk's touch screen alone (the address says ?kiosk=1): phones and desks have one of their own.

import { icon, make } from "./page.js";
import { label, say } from "./words.js";

const ROWS = ["1234567890", "qwertyuiop", "asdfghjkl-", "zxcvbnm/'."];

export class Keyboard {
  #field = null;

  /** Types into the text fields inside `within`; stays away unless this is the kiosk. */
  constructor(place, within) {
    if (!new URLSearchParams(location.search).has("kiosk")) return;
    label(place, say("keyboard"));
    place.setAttribute("role", "group");
    place.append(...ROWS.map((row) => make("div", {}, ...[...row].map((letter) => this.#key(letter, () => this.#type(letter))))));
    const space = this.#key(say("keyboard.space"), () => this.#type(" "));
    space.className = "space";
    const remove = this.#key("", () => this.#remove());
    remove.append(icon("back"));
    label(remove, say("keyboard.delete"));
    place.lastElementChild.append(remove);
    place.append(make("div", {}, space));
    within.addEventListener("focusin", ({ target }) => {
      if (!target.matches("input")) return;
      this.#field = target;
      target.inputMode = "none"; // else the system's own keyboard comes as well
      place.hidden = false;
    });
    within.addEventListener("close", () => (place.hidden = true));
  }

  #key(text, press) {
    // pressing a key must not take the focus from the field
    return make("button", { type: "button", text, onpointerdown: (event) => event.preventDefault(), onclick: press });
  }

  #type(text) {
    this.#field.setRangeText(text, this.#field.selectionStart, this.#field.selectionEnd, "end");
    this.#tell();
  }

  #remove() {
    const { selectionStart: start, selectionEnd: end } = this.#field;
    this.#field.setRangeText("", start === end ? Math.max(0, start - 1) : start, end, "end");
    this.#tell();
  }

  #tell() {
    this.#field.dispatchEvent(new InputEvent("input", { bubbles: true }));
  }
}
