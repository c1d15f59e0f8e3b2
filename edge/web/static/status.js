// The status page for technicians: live camera image, health, controls, log.

import { ApiError, follow, get, post } from "./api.js";
import { showHealth, showIndex } from "./figures.js";
import { Link } from "./link.js";
import { icon, insertIcons, make, toast } from "./page.js";
import { Setup } from "./setup.js";
import { applyTexts, translate } from "./words.js";

const MOST_LINES = 300;
const SURE_MS = 4000;

applyTexts();
insertIcons();
document.title = translate("title.status");

const link = new Link();
const setup = new Setup();
const logs = document.getElementById("logs");
const threshold = document.getElementById("threshold");
let index = null;
let model = null;
let enabled = true;

function applyControls(controls) {
  enabled = controls.enabled;
  const words = make("span", { text: translate(enabled ? "status.pause" : "status.go") });
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

/** Append log lines. Scroll to the end only if it was visible before. */
function log(...lines) {
  const follows = logs.scrollTop + logs.clientHeight >= logs.scrollHeight - 8;
  logs.append(...lines.map(line));
  while (logs.childElementCount > MOST_LINES) logs.firstElementChild.remove();
  if (follows) logs.scrollTop = logs.scrollHeight;
}

async function command(name, body = {}) {
  try {
    await post(`/api/commands/${name}`, body);
    toast(translate("status.done"), "good");
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    toast(error.message, "bad");
  }
}

/** Roll back to the previous index; the button asks for confirmation first. */
function rollback(button) {
  const words = button.querySelector("span");
  const confirmed = button.dataset.sure === "yes";
  const reset = () => {
    button.dataset.sure = "";
    words.textContent = translate("status.rollback");
  };
  if (confirmed) {
    reset();
    return command("index/rollback");
  }
  button.dataset.sure = "yes";
  words.textContent = translate("status.rollback.sure");
  setTimeout(reset, SURE_MS);
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
    controls: applyControls,
    index: (state) => showIndex((index = state), model),
    model: (state) => showIndex(index, (model = state)),
    outlines: (update) => setup.show(update),
    log: (entry) => log(entry),
  },
  async (reachable) => {
    link.reachable = reachable;
    if (!reachable) return setup.preview.stop();
    setup.preview.start();
    try {
      const lines = await get("/api/logs?limit=200");
      logs.replaceChildren();
      log(...lines);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
  },
);
