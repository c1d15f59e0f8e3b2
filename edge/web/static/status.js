// The technician's page: what the scanner sees and how it feels, live.

import { ApiError, ask, follow, tell } from "./api.js";
import { showHealth, showIndex } from "./figures.js";
import { Link } from "./link.js";
import { icon, make, putIcons, toast } from "./page.js";
import { Setup } from "./setup.js";
import { putTexts, say } from "./words.js";

const MOST_LINES = 300;
const SURE_MS = 4000;

putTexts();
putIcons();
document.title = say("title.status");

const link = new Link();
const setup = new Setup();
const logs = document.getElementById("logs");
const threshold = document.getElementById("threshold");
let index = null;
let model = null;
let enabled = true;

function control(controls) {
  enabled = controls.enabled;
  const words = make("span", { text: say(enabled ? "status.pause" : "status.go") });
  document.getElementById("enabled").replaceChildren(icon(enabled ? "pause" : "check"), words);
  if (document.activeElement !== threshold.elements.threshold) threshold.elements.threshold.value = controls.threshold;
}

function health(state) {
  link.health = state;
  showHealth(state);
}

function line({ at, level, logger, message }) {
  return make(
    "li",
    { "data-level": level.toLowerCase() },
    make("time", { datetime: at, text: new Date(at).toLocaleTimeString() }),
    make("b", { text: level.toLowerCase() }),
    make("span", {}, make("small", { text: logger }), ` ${message}`),
  );
}

/** New lines come at the end; whoever reads further up is not carried off. */
function log(...lines) {
  const follows = logs.scrollTop + logs.clientHeight >= logs.scrollHeight - 8;
  logs.append(...lines.map(line));
  while (logs.childElementCount > MOST_LINES) logs.firstElementChild.remove();
  if (follows) logs.scrollTop = logs.scrollHeight;
}

async function command(name, body = {}) {
  try {
    await tell(`/api/commands/${name}`, body);
    toast(say("status.done"), "good");
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    toast(error.message, "bad");
  }
}

/** Going back to the bundle before is asked about once more, on the button itself. */
function rollback(button) {
  const words = button.querySelector("span");
  const ready = button.dataset.sure === "yes";
  const unsure = () => {
    button.dataset.sure = "";
    words.textContent = say("status.rollback");
  };
  if (ready) {
    unsure();
    return command("index/rollback");
  }
  button.dataset.sure = "yes";
  words.textContent = say("status.rollback.sure");
  setTimeout(unsure, SURE_MS);
}

document.getElementById("enabled").addEventListener("click", () => command("enabled", { enabled: !enabled }));
document.getElementById("scan").addEventListener("click", () => command("scan"));
document.getElementById("rollback").addEventListener("click", ({ currentTarget }) => rollback(currentTarget));
threshold.addEventListener("submit", (event) => {
  event.preventDefault();
  command("threshold", { threshold: threshold.elements.threshold.valueAsNumber });
});

follow(
  "/api/stream?outlines=1&log=1",
  {
    health,
    controls: control,
    index: (state) => showIndex((index = state), model),
    model: (state) => showIndex(index, (model = state)),
    outlines: (seen) => setup.show(seen),
    log: (entry) => log(entry),
  },
  async (reachable) => {
    link.reachable = reachable;
    if (!reachable) return setup.preview.stop();
    setup.preview.start();
    try {
      const lines = await ask("/api/logs?limit=200");
      logs.replaceChildren();
      log(...lines);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
  },
);
