// Taking a list out of the scanner and into it: formats, what they lose, files.

import { ApiError, get, postFile } from "./api.js";
import { make, toast } from "./page.js";
import { translate } from "./words.js";

const CHOSEN = "cardedge.profile";

export class ExportDialog {
  #dialog = document.getElementById("export-dialog");
  #profile = document.getElementById("profile");
  #pictures = document.getElementById("with-pictures");

  constructor(model) {
    this.model = model;
    this.#profile.addEventListener("change", () => this.#check());
    this.#pictures.addEventListener("change", () => this.#setAddresses());
    document.getElementById("import-file").addEventListener("change", ({ target }) => this.#import(target));
  }

  async open() {
    this.#dialog.showModal();
    try {
      const { profiles, problems } = await get("/api/profiles");
      const chosen = localStorage.getItem(CHOSEN) ?? "manabox";
      this.#profile.replaceChildren(...profiles.map(({ profile, name }) => make("option", { value: profile, text: name, selected: profile === chosen })));
      this.#dialog.querySelector(".problems").replaceChildren(...problems.map((text) => make("li", { text })));
      await this.#check();
    } catch (error) {
      this.#refused(error);
    }
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
    try {
      const { rows, unmatched, named } = await postFile(`/api/lists/${this.model.id}/import?profile=${encodeURIComponent(this.#profile.value)}`, file);
      toast(translate("export.imported", { rows: rows - unmatched, unmatched }), unmatched > 0 ? "bad" : "good");
      this.#dialog.querySelector(".problems").replaceChildren(...named.map(({ row, text, reason }) => make("li", { text: `${row}: ${text}: ${reason}` })));
    } catch (error) {
      this.#refused(error);
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
