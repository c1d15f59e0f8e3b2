// A small line chart of the latest values.

import { drawn, make } from "./page.js";

const MOST = 120;
const WIDTH = 240;
const HEIGHT = 48;

export class Graph {
  #values = [];
  #line = drawn("path", { class: "line" });
  #area = drawn("path", { class: "area" });
  #number = make("b");

  constructor(title) {
    this.element = make(
      "div",
      { class: "graph" },
      make("p", {}, make("span", { text: title }), this.#number),
      drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, this.#area, this.#line),
    );
  }

  add(value, text) {
    this.#values = [...this.#values, value].slice(-MOST);
    this.#number.textContent = text;
    const top = Math.max(...this.#values, 1e-9) * 1.15;
    const points = this.#values.map((each, index) => {
      const x = WIDTH - ((this.#values.length - 1 - index) * WIDTH) / (MOST - 1);
      return `${x.toFixed(1)} ${(HEIGHT - 2 - (each / top) * (HEIGHT - 4)).toFixed(1)}`;
    });
    const line = `M${points.join("L")}`;
    this.#line.setAttribute("d", line);
    this.#area.setAttribute("d", `${line}L${WIDTH} ${HEIGHT}L${points[0].split(" ")[0]} ${HEIGHT}Z`);
  }
}
