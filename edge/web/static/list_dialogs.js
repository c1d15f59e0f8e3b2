// The dialogs of the counter: edit a line, choose a list, settings of a list.

import { ApiError, get, post, postFile } from "./api.js";
import { binTexts, cardCount, choose, fillChoices } from "./fields.js";
import { icon, make, toast } from "./page.js";
import { chooseLanguage, label, language, languageCodes, timeOfDay, translate } from "./words.js";

const SPEAK = "cardedge.speak";
const KINDS = ["counted", "wanted", "owned"];

/** Return whether bins and outcomes are spoken on this screen. */
export function isSpoken() {
  return localStorage.getItem(SPEAK) === "on";
}

export class EditDialog {
  #dialog = document.getElementById("edit-dialog");
  #form = document.getElementById("edit");
  #line = null;

  /** `command(fields)` changes the list. */
  constructor(command) {
    fillChoices(this.#form);
    this.#form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const { copies, quantity, ...fields } = Object.fromEntries(new FormData(this.#form));
      const some = Number(copies) > 0 && Number(copies) < this.#line.quantity;
      const amount = some ? { copies: Number(copies) } : { quantity: Number(quantity) };
      if (await command({ do: "edit", line: this.#line.id, ...amount, ...fields })) this.#dialog.close();
    });
  }

  open(line) {
    this.#line = line;
    const { elements } = this.#form;
    document.getElementById("edit-title").textContent = line.name ?? line.card_id;
    for (const name of ["finish", "condition", "language"]) choose(elements[name], line[name]);
    elements.quantity.value = line.quantity;
    elements.copies.value = "";
    elements.copies.max = line.quantity;
    elements.copies.placeholder = translate("field.copies.all");
    elements.note.value = line.note;
    elements.bin.value = line.bin ?? "";
    this.#dialog.showModal();
    elements.quantity.select();
  }
}

export class ListsDialog {
  #dialog = document.getElementById("lists-dialog");
  #place = this.#dialog.querySelector(".overview");

  /** `send(path, body)` sends something to the scanner; `openList(id)` shows a list of wanted or owned cards, or, with null, the counted one. */
  constructor(send, openList) {
    this.send = send;
    this.openList = openList;
    const form = document.getElementById("new-list");
    form.elements.kind.replaceChildren(...KINDS.map((kind) => make("option", { value: kind, text: translate(`lists.kind.${kind}`) })));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const { name, kind } = Object.fromEntries(new FormData(form));
      const lists = await send("/api/lists", { name: name.trim() || null, kind });
      if (!lists) return;
      form.reset();
      this.#show(lists.find((one) => one.kind === kind)); // the newest comes first
    });
  }

  open() {
    this.#dialog.showModal();
  }

  /** Show the overview; `shown` is the id of the list on the page. */
  show(overview, shown) {
    this.#place.replaceChildren(...overview.map((one) => this.#row(one, shown === one.list_id)));
  }

  /** Show a list on the page and close the dialog. */
  #show({ list_id: id, kind }) {
    this.openList(kind === "counted" ? null : id);
    this.#dialog.close();
  }

  #row(one, isShown) {
    const words = [translate(`lists.kind.${one.kind}`), cardCount(one.quantity), new Date(one.resumed_at).toLocaleDateString(language), timeOfDay(one.resumed_at)];
    if (one.waiting > 0) words.push(translate("lists.waiting", { count: one.waiting }));
    const isCounted = one.kind === "counted";
    const inUse = isShown && !one.paused;
    const open = make("button", { type: "button", text: translate(`lists.${inUse ? (isCounted ? "active" : "shown") : isCounted ? "resume" : "open"}`), disabled: inUse });
    open.addEventListener("click", async () => {
      if (!isCounted || (await this.send(`/api/lists/${one.list_id}/resume`, {}))) this.#show(one);
    });
    const remove = make("button", { type: "button", class: "quiet round" }, icon("trash"));
    label(remove, translate("lists.delete", { name: one.name }));
    remove.addEventListener("click", () => this.#delete(remove, one));
    const file = make("a", { class: "button", href: `/api/lists/${one.list_id}/export?profile=cardedge_csv`, download: true, text: translate("session.csv") });
    return make("li", { "data-list": one.list_id, "data-active": one.active }, make("span", { class: "line-words" }, make("b", { text: one.name }), make("small", { text: words.join(" · ") })), open, file, remove);
  }

  /** Delete a list; the button asks for confirmation first. */
  #delete(button, one) {
    if (button.dataset.sure === "yes") return this.send(`/api/lists/${one.list_id}/delete`, {});
    button.dataset.sure = "yes";
    toast(translate("lists.delete.sure", { name: one.name, count: one.quantity }), "bad");
    return setTimeout(() => (button.dataset.sure = ""), 4000);
  }
}

const texts = (value) => value.split(/[,;]+/).map((one) => one.trim()).filter(Boolean);

export class SettingsDialog {
  #dialog = document.getElementById("settings-dialog");
  #form = document.getElementById("settings");

  /** `configure(fields)` changes the settings of the list in `model`. */
  constructor(model, configure) {
    this.model = model;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#save(configure);
    });
    document.getElementById("price-file").addEventListener("change", ({ target }) => this.#loadPrices(target));
    document.getElementById("clear-prices").addEventListener("click", () => this.#prices(() => post("/api/prices/clear")));
    const languages = document.getElementById("page-language");
    const names = (code) => new Intl.DisplayNames(code, { type: "language" }).of(code);
    languages.replaceChildren(...languageCodes.map((code) => make("option", { value: code, text: names(code), selected: code === language })));
    languages.addEventListener("change", () => chooseLanguage(languages.value));
  }

  open() {
    const { header } = this.model;
    if (!header) return; // no list is loaded yet
    const { elements } = this.#form;
    elements.name.value = header.name;
    for (const name of ["by_key", "count_again", "keep_pictures"]) elements[name].checked = header[name];
    for (const name of ["only_sets", "only_games", "printings"]) elements[name].value = header[name].join(", ");
    elements.rules.value = header.rules;
    for (const field of this.#form.querySelectorAll(".counting")) field.hidden = header.kind !== "counted";
    elements.speak.checked = isSpoken();
    this.#form.querySelector(".bins").replaceChildren(...binTexts(this.model.totals).map((text) => make("li", { text })));
    this.#error("");
    this.#dialog.showModal();
    this.#prices(() => get("/api/prices"));
  }

  async #save(configure) {
    const { elements } = this.#form;
    localStorage.setItem(SPEAK, elements.speak.checked ? "on" : "off");
    const fields = { name: elements.name.value, rules: elements.rules.value };
    for (const name of ["by_key", "count_again", "keep_pictures"]) fields[name] = elements[name].checked;
    for (const name of ["only_sets", "only_games", "printings"]) fields[name] = texts(elements[name].value);
    try {
      await post(`/api/lists/${this.model.id}/commands`, { do: "configure", ...fields });
      this.#dialog.close();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#error(error.message);
    }
  }

  async #loadPrices(input) {
    const [file] = input.files;
    input.value = "";
    if (file) await this.#prices(() => postFile(`/api/prices?day=${new Date(file.lastModified).toISOString().slice(0, 10)}`, file));
  }

  async #prices(request) {
    try {
      const { currency, day, cards } = await request();
      this.#dialog.querySelector(".price-source").textContent = currency ? translate("settings.prices.file", { currency, day: new Date(day).toLocaleDateString(language, { dateStyle: "medium", timeZone: "UTC" }), count: cards }) : translate("settings.prices.index");
      document.getElementById("clear-prices").hidden = !currency;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#error(error.message);
    }
  }

  #error(text) {
    this.#form.querySelector(".error").textContent = text;
  }
}
