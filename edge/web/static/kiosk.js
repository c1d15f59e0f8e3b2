// The page for the counter: shows the card under the camera.

import { ApiError, follow, get, post } from "./api.js";
import { CardView, nameOf, whyOf } from "./card_view.js";
import { certainty } from "./certainty.js";
import { Correction, publishCorrection } from "./correction.js";
import { Link } from "./link.js";
import { icon, insertIcons, toast } from "./page.js";
import { Preview } from "./preview.js";
import { Session } from "./session.js";
import * as sound from "./sound.js";
import { Strip } from "./strip.js";
import { applyTexts, translate } from "./words.js";

const STAYS_MS = 30_000; // how long a removed card remains visible
const DEFAULT_THRESHOLD = 0.7;

applyTexts();
insertIcons();

const link = new Link();
const preview = new Preview(document.querySelector(".preview"));
const session = new Session();
const correction = new Correction();
const view = new CardView(publishCorrection, (event) => correction.open(event));
const strip = new Strip((event) => show(event));
let threshold = DEFAULT_THRESHOLD;
let idleTimer = 0;

function show(event) {
  clearTimeout(idleTimer);
  view.show(event, threshold);
}

function handleEvent(event) {
  if (event.type === "removed") return handleRemoval(event);
  strip.add(event);
  show(event);
  sound.play(event.type);
  document.getElementById("spoken").textContent = spoken(event);
}

function spoken(event) {
  const words = translate(certainty(event, threshold).word);
  return translate(`say.${event.type}`, { name: nameOf(event), words, why: whyOf(event) });
}

function handleRemoval({ track_id: trackId }) {
  if (view.event?.track_id !== trackId) return;
  view.markRemoved();
  clearTimeout(idleTimer);
  idleTimer = setTimeout(() => view.showIdle(), STAYS_MS);
}

function applyControls({ threshold: bound, enabled }) {
  threshold = bound;
  view.paused = !enabled;
}

/** Load what was missed while the page was hidden or disconnected. */
async function catchUp() {
  const [state, events] = await Promise.all([get("/api/state"), get("/api/events?limit=50"), session.load()]);
  if (state.controls) applyControls(state.controls);
  link.health = state.health;
  strip.fill(events);
  const present = state.cards?.cards.at(-1);
  const event = present && strip.ofTrack(present.track_id);
  if (event && event.event_id !== view.event?.event_id) show(event);
}

/** The page loads again what it could not load, once the scanner is reachable again. */
function ignoreApiError(error) {
  if (!(error instanceof ApiError)) throw error;
}

function updateSoundButton() {
  const button = document.getElementById("sound");
  const on = sound.isOn();
  button.setAttribute("aria-pressed", on);
  button.replaceChildren(icon(on ? "sound" : "silence"));
  button.title = translate(on ? "nav.sound.on" : "nav.sound.off");
}

document.getElementById("sound").addEventListener("click", () => {
  sound.enable(!sound.isOn());
  updateSoundButton();
});

document.getElementById("scan").addEventListener("click", async () => {
  try {
    await post("/api/commands/scan");
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    toast(error.message, "bad");
  }
});

updateSoundButton();
view.showIdle();
follow(
  "/api/stream?outlines=1",
  {
    card: handleEvent,
    health: (health) => (link.health = health),
    controls: applyControls,
    outlines: (update) => preview.show(update),
    session: (list) => session.show(list),
    session_change: (change) => session.change(change).catch(ignoreApiError),
  },
  (reachable) => {
    link.reachable = reachable;
    if (!reachable) return preview.stop();
    preview.start();
    catchUp().catch(ignoreApiError);
  },
);
