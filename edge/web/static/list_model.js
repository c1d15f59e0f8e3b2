// The active list as the scanner has it: the whole list once, then its changes. Lines are kept newest first.

export class ListModel {
  constructor() {
    this.header = null;
    this.lines = new Map();
    this.prices = new Map();
    this.newest = []; // ids of the lines, the one changed last first
    this.totals = { value: 0, currency: null, unpriced: 0, bins: [] };
    this.summary = { revision: 0, quantity: 0, lines: 0, waiting: 0, undo: null, redo: null };
  }

  get id() {
    return this.header?.list_id ?? null;
  }

  /** Replace everything by a whole list. */
  fill({ header, update }) {
    this.header = header;
    this.lines = new Map(update.put.map((line) => [line.id, line]));
    this.prices = new Map(Object.entries(update.prices).map(([id, price]) => [Number(id), price]));
    this.newest = [...this.lines.keys()].sort((one, other) => this.#at(other) - this.#at(one) || other - one);
    this.#sum(update);
  }

  /** Apply a change; return false if one before it was missed, so that the list has to be loaded again. */
  apply(update) {
    if (update.list_id !== this.id || update.revision <= this.summary.revision) return true;
    if (update.revision !== this.summary.revision + 1) return false;
    const touched = new Set([...update.removed, ...update.put.map((line) => line.id)]);
    const moved = update.put.filter((line) => this.#isNewer(line)).map((line) => line.id);
    const stays = new Set(update.put.map((line) => line.id).filter((id) => !moved.includes(id)));
    if (touched.size > 0) this.newest = [...moved, ...this.newest.filter((id) => !touched.has(id) || stays.has(id))];
    for (const id of update.removed) this.lines.delete(id);
    for (const line of update.put) this.lines.set(line.id, line);
    for (const id of touched) this.prices.delete(id);
    for (const [id, price] of Object.entries(update.prices)) this.prices.set(Number(id), price);
    if (update.header) this.header = update.header;
    this.#sum(update);
    return true;
  }

  #isNewer(line) {
    const before = this.lines.get(line.id);
    return !before || before.quantity !== line.quantity || before.at !== line.at;
  }

  #at(id) {
    return Date.parse(this.lines.get(id).at);
  }

  #sum(update) {
    this.summary = update;
    this.totals = update.totals;
  }

  /** Return the ids of the lines to show, newest first. */
  visible({ waiting, words }) {
    const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
    if (!waiting && wanted.length === 0) return this.newest;
    return this.newest.filter((id) => {
      const line = this.lines.get(id);
      if (waiting && !line.waiting) return false;
      const text = [line.name, line.set, line.number, line.note, line.bin, line.finish, line.card_id].join(" ").toLowerCase();
      return wanted.every((word) => text.includes(word));
    });
  }

  /** Return the number of copies of a card. */
  count(cardId) {
    let count = 0;
    for (const line of this.lines.values()) if (line.card_id === cardId && !line.waiting) count += line.quantity;
    return count;
  }
}
