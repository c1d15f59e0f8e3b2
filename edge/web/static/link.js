// The status in the header: is the scanner reachable, is it working, is the broker connected?

import { icon } from "./page.js";
import { translate } from "./words.js";

const KINDS = { ready: "good", starting: "wait", stopping: "wait", paused: "wait", problem: "bad", lost: "bad", broker: "warn" };
const ICONS = { good: "check", wait: "pause", bad: "warning", warn: "plug" };

/** Return the status as {word, kind, text}. `health` is null until it has been received. */
export function linkState(reachable, health) {
  if (!reachable) return state("lost");
  if (health === null) return state("starting");
  if (["ok", "paused"].includes(health.state) && !health.publisher.connected) {
    const count = health.publisher.outbox_rows;
    return { ...state("broker"), text: translate(count > 0 ? "link.broker.waiting" : "link.broker", { count }) };
  }
  return state(health.state === "ok" ? "ready" : health.state);
}

function state(word) {
  return { word, kind: KINDS[word], text: translate(`link.${word}`) };
}

export class Link {
  #pill = document.getElementById("link");
  #reachable = true;
  #health = null;

  constructor() {
    this.#draw();
  }

  set reachable(reachable) {
    this.#reachable = reachable;
    this.#draw();
  }

  set health(health) {
    this.#health = health;
    this.#draw();
  }

  #draw() {
    const { word, kind, text } = linkState(this.#reachable, this.#health);
    if (this.#pill.dataset.word === word && this.#pill.textContent === text) return;
    this.#pill.dataset.word = word;
    this.#pill.dataset.kind = kind;
    this.#pill.title = this.#health?.problems.map((problem) => problem.message).join("\n") ?? "";
    const words = document.createElement("span");
    words.textContent = text;
    this.#pill.replaceChildren(icon(ICONS[kind]), words);
  }
}
