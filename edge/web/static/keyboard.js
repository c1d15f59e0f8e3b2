// An on-screen keyboard for the kiosk's touch screen only (address with ?kiosk=1): other devices have their own.

import { icon, make } from "./page.js";
import { label, translate } from "./words.js";

const ROWS = ["1234567890", "qwertyuiop", "asdfghjkl-", "zxcvbnm/'."];
const ACCENTS = ["àáâãäåæçèé", "êëìíîïñòóô", "õöøœùúûüýß", "°&+!?:,()\""];

export class Keyboard {
  #field = null;

  /** Type into the text fields inside `within`. Hidden unless the page runs as a kiosk. */
  constructor(place, within) {
    if (!new URLSearchParams(location.search).has("kiosk")) return;
    label(place, translate("keyboard"));
    place.setAttribute("role", "group");
    const rows = (letters, kind) => letters.map((row) => make("div", { class: kind }, ...[...row].map((letter) => this.#key(letter, () => this.#type(letter)))));
    place.append(...rows(ACCENTS, "accents"), ...rows(ROWS, "letters"));
    const other = this.#key("äé?", () => place.classList.toggle("accented"));
    label(other, translate("keyboard.accents"));
    const space = this.#key(translate("keyboard.space"), () => this.#type(" "));
    space.className = "space";
    const remove = this.#key("", () => this.#remove());
    remove.append(icon("back"));
    label(remove, translate("keyboard.delete"));
    place.lastElementChild.append(remove);
    const hide = this.#key(translate("keyboard.hide"), () => this.#hide(place));
    place.append(make("div", {}, other, space, hide));
    within.addEventListener("focusin", ({ target }) => {
      if (!target.matches("input")) return;
      this.#field = target;
      target.inputMode = "none"; // otherwise the system's keyboard appears as well
      place.hidden = false;
    });
    within.addEventListener("close", () => (place.hidden = true));
  }

  #key(text, press) {
    // pressing a key must not move the focus away from the field
    return make("button", { type: "button", text, onpointerdown: (event) => event.preventDefault(), onclick: press });
  }

  /** The field loses the focus, so that touching it again shows the keyboard. */
  #hide(place) {
    place.hidden = true;
    this.#field.blur();
  }

  #type(text) {
    this.#field.setRangeText(text, this.#field.selectionStart, this.#field.selectionEnd, "end");
    this.#fireInput();
  }

  #remove() {
    const { selectionStart: start, selectionEnd: end } = this.#field;
    this.#field.setRangeText("", start === end ? Math.max(0, start - 1) : start, end, "end");
    this.#fireInput();
  }

  #fireInput() {
    this.#field.dispatchEvent(new InputEvent("input", { bubbles: true }));
  }
}
