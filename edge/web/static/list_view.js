// The lines of a list. Only those in view exist as elements, so that 20,000 lines scroll like twenty.

import { details, money } from "./fields.js";
import { whereFrom } from "./choices.js";
import { cropUrl, imageElement, make, referenceUrl } from "./page.js";
import { translate } from "./words.js";

const SPARE = 4; // rows outside of the visible part

export class ListView {
  #place = document.getElementById("lines");
  #sheet = this.#place.firstElementChild;
  #rows = new Map();
  #ids = [];
  #height = 60; // of a row
  #viewHeight = 0;
  #marked = new Set();

  /** `choose(id)` is called when a person selects a line. */
  constructor(model, choose) {
    this.model = model;
    this.selected = null;
    this.choose = choose;
    this.#place.addEventListener("scroll", () => this.#draw());
    this.#place.addEventListener("click", ({ target }) => {
      const row = target.closest("[data-line]");
      if (row) this.choose(Number(row.dataset.line));
    });
    this.#measure();
    new ResizeObserver(() => {
      this.#measure();
      this.#draw();
    }).observe(this.#place);
  }

  /** Read sizes when they may have changed only: after a change of the list the browser would have to lay out the page for it. */
  #measure() {
    this.#height = parseFloat(getComputedStyle(this.#place).getPropertyValue("--row")) || 60;
    this.#viewHeight = this.#place.clientHeight;
  }

  get marked() {
    return [...this.#marked].filter((id) => this.model.lines.has(id));
  }

  /** Show these lines; those whose content changed are drawn anew. */
  show(ids, changed = null) {
    this.#ids = ids;
    if (changed === null) this.#forget(this.#rows.keys());
    else this.#forget(changed);
    this.#place.classList.toggle("none", ids.length === 0);
    this.#draw();
  }

  /** Select a line and bring it into view. */
  select(id) {
    const before = this.selected;
    this.selected = id;
    this.#forget([before, id]);
    const place = this.#ids.indexOf(id);
    if (place >= 0) this.#reveal(place);
    this.#draw();
  }

  /** Return the id of the line so many rows below the selected one. */
  neighbor(rows) {
    if (this.#ids.length === 0) return null;
    const place = this.#ids.indexOf(this.selected);
    return this.#ids[Math.min(Math.max(place < 0 ? 0 : place + rows, 0), this.#ids.length - 1)];
  }

  toggleMark(id) {
    if (!this.#marked.delete(id)) this.#marked.add(id);
    this.#forget([id]);
    this.#draw();
  }

  clearMarks() {
    this.#forget(this.#marked);
    this.#marked.clear();
    this.#draw();
  }

  #reveal(place) {
    const top = place * this.#height;
    if (top < this.#place.scrollTop) this.#place.scrollTop = top;
    else if (top + this.#height > this.#place.scrollTop + this.#viewHeight) this.#place.scrollTop = top + this.#height - this.#viewHeight;
  }

  #forget(ids) {
    for (const id of [...ids]) {
      this.#rows.get(id)?.remove();
      this.#rows.delete(id);
    }
  }

  #draw() {
    this.#sheet.style.height = `${this.#ids.length * this.#height}px`;
    const first = Math.max(0, Math.floor(this.#place.scrollTop / this.#height) - SPARE);
    const last = Math.min(this.#ids.length, first + Math.ceil(this.#viewHeight / this.#height) + 2 * SPARE);
    const wanted = this.#ids.slice(first, last);
    const keep = new Set(wanted);
    this.#forget([...this.#rows.keys()].filter((id) => !keep.has(id)));
    wanted.forEach((id, offset) => {
      let row = this.#rows.get(id);
      if (!row) {
        row = this.#row(this.model.lines.get(id));
        this.#rows.set(id, row);
        this.#sheet.append(row);
      }
      row.style.transform = `translateY(${(first + offset) * this.#height}px)`;
      row.setAttribute("aria-posinset", first + offset + 1);
      row.setAttribute("aria-setsize", this.#ids.length);
    });
    const current = this.#rows.get(this.selected);
    if (current) this.#place.setAttribute("aria-activedescendant", current.id);
    else this.#place.removeAttribute("aria-activedescendant");
  }

  #row(line) {
    const price = money(this.model.prices.get(line.id), this.model.totals.currency);
    const name = line.waiting ? translate("counter.unnamed") : (line.name ?? line.card_id);
    const under = line.waiting ? translate("counter.settle") : `${whereFrom(line)} · ${details(line)}`;
    return make(
      "div",
      {
        id: `line-${line.id}`, "data-line": line.id, class: "line", role: "option", "data-waiting": line.waiting,
        "aria-selected": String(line.id === this.selected || this.#marked.has(line.id)), "data-current": line.id === this.selected, "data-marked": this.#marked.has(line.id),
      },
      make("span", { class: "frame" }, line.waiting ? imageElement(cropUrl(line.event_id), "") : imageElement(referenceUrl(line.card_id), "")),
      make("span", { class: "line-words" }, make("b", { text: name }), make("small", { text: under })),
      make("span", { class: "line-numbers" }, make("span", { class: "line-price", text: price }), make("span", { class: "line-times", text: line.waiting ? "?" : `${line.quantity}×` })),
    );
  }
}
