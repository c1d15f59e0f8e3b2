// Taking a list out of the scanner and into it: formats, what they lose, files.

import { ApiError, get, post, postFile, problemText } from "./api.js";
import { make, toast } from "./page.js";
import { translate } from "./words.js";

const CHOSEN = "cardedge.profile";
const NEW = ["wanted", "owned"]; // kinds of lists that a file can begin

export class ExportDialog {
  #dialog = document.getElementById("export-dialog");
  #profile = document.getElementById("profile");
  #pictures = document.getElementById("with-pictures");
  #into = document.getElementById("import-into");

  constructor(model) {
    this.model = model;
    this.#profile.addEventListener("change", () => this.#check());
    this.#pictures.addEventListener("change", () => this.#setAddresses());
    document.getElementById("import-file").addEventListener("change", ({ target }) => this.#import(target));
  }

  async open() {
    if (!this.model.header) return; // no list is loaded yet
    this.#dialog.showModal();
    try {
      const { profiles, problems } = await get("/api/profiles");
      const chosen = localStorage.getItem(CHOSEN) ?? "manabox";
      this.#profile.replaceChildren(...profiles.map(({ profile, name }) => make("option", { value: profile, text: name, selected: profile === chosen })));
      this.#dialog.querySelector(".problems").replaceChildren(...problems.map((text) => make("li", { text })));
      this.#showLists(await get("/api/lists"));
      await this.#check();
    } catch (error) {
      this.#refused(error);
    }
  }

  /** Offer the lists to which a file can be added: this one, and those of wanted and owned cards. */
  #showLists(lists) {
    const others = lists.filter(({ list_id: id, kind }) => id === this.model.id || kind !== "counted");
    others.sort((one, other) => (other.list_id === this.model.id) - (one.list_id === this.model.id));
    const begun = NEW.map((kind) => make("option", { value: kind, text: translate(`export.into.${kind}`) }));
    this.#into.replaceChildren(...others.map(({ list_id: value, name }) => make("option", { value, text: name })), ...begun);
  }

  /** Say what the chosen format loses, before anything is downloaded. */
  async #check() {
    localStorage.setItem(CHOSEN, this.#profile.value);
    this.#setAddresses();
    try {
      const { lines, copies, waiting, gaps } = await get(`/api/lists/${this.model.id}/check?profile=${encodeURIComponent(this.#profile.value)}`);
      const texts = [translate("export.holds", { lines, copies }), ...gaps.map(gapText)];
      if (waiting > 0) texts.splice(1, 0, translate("export.waiting", { count: waiting }));
      this.#dialog.querySelector(".gaps").replaceChildren(...texts.map((text, place) => make("p", { text, class: place > 0 ? "gap" : "" })));
    } catch (error) {
      this.#refused(error);
    }
  }

  #setAddresses() {
    const pictures = this.#pictures.checked ? "&pictures=1" : "";
    document.getElementById("download").href = `/api/lists/${this.model.id}/export?profile=${encodeURIComponent(this.#profile.value)}${pictures}`;
    document.getElementById("print").href = `/print?list=${encodeURIComponent(this.model.id)}`;
  }

  async #import(input) {
    const [file] = input.files;
    input.value = "";
    if (!file) return;
    const kind = NEW.find((one) => one === this.#into.value);
    let list = this.#into.value;
    try {
      if (kind) list = (await post("/api/lists", { name: file.name.replace(/\.\w+$/, "").slice(0, 100) || null, kind })).find((one) => one.kind === kind).list_id;
      const { rows, unmatched, named } = await postFile(`/api/lists/${list}/import?profile=${encodeURIComponent(this.#profile.value)}`, file);
      toast(translate("export.imported", { rows: rows - unmatched, unmatched }), unmatched > 0 ? "bad" : "good");
      this.#dialog.querySelector(".problems").replaceChildren(...named.map(({ row, text, code, reason }) => make("li", { text: `${row}: ${text}: ${problemText(code, reason)}` })));
      if (kind) this.#showLists(await get("/api/lists"));
    } catch (error) {
      this.#refused(error);
      if (kind && list !== kind) await post(`/api/lists/${list}/delete`).catch(() => null); // nothing was added to it
    }
  }

  #refused(error) {
    if (!(error instanceof ApiError)) throw error;
    toast(error.message, "bad");
  }
}

function gapText({ kind, column, value, exported_as: word, lines }) {
  return translate(`export.gap.${kind}`, { column, value, word, count: lines });
}
