// The page for the person at the counter: the card under the camera, as soon as it is named.

import { ApiError, ask, follow, tell } from "./api.js";
import { CardView, nameOf, whyOf } from "./card_view.js";
import { certainty } from "./certainty.js";
import { Correction, putRight } from "./correction.js";
import { Link } from "./link.js";
import { icon, putIcons, toast } from "./page.js";
import { Preview } from "./preview.js";
import { Session } from "./session.js";
import * as sound from "./sound.js";
import { Strip } from "./strip.js";
import { putTexts, say } from "./words.js";

const STAYS_MS = 30_000; // how long a card that was taken away can still be read
const USUAL_THRESHOLD = 0.7;

putTexts();
putIcons();

const link = new Link();
const preview = new Preview(document.querySelector(".preview"));
const session = new Session();
const correction = new Correction();
const view = new CardView(putRight, (event) => correction.open(event));
const strip = new Strip((event) => show(event));
let threshold = USUAL_THRESHOLD;
let restTimer = 0;

function show(event) {
  clearTimeout(restTimer);
  view.show(event, threshold);
}

function take(event) {
  if (event.type === "removed") return leave(event);
  strip.add(event);
  show(event);
  sound.play(event.type);
  document.getElementById("spoken").textContent = spoken(event);
}

function spoken(event) {
  const words = say(certainty(event, threshold).word);
  return say(`say.${event.type}`, { name: nameOf(event), words, why: whyOf(event) });
}

function leave({ track_id: trackId }) {
  if (view.event?.track_id !== trackId) return;
  view.leave();
  clearTimeout(restTimer);
  restTimer = setTimeout(() => view.rest(), STAYS_MS);
}

function control({ threshold: bound, enabled }) {
  threshold = bound;
  view.paused = !enabled;
}

/** What was missed while the page was away, or before it was opened. */
async function catchUp() {
  const [state, events] = await Promise.all([ask("/api/state"), ask("/api/events?limit=50"), session.load()]);
  if (state.controls) control(state.controls);
  link.health = state.health;
  strip.fill(events);
  const present = state.cards?.cards.at(-1);
  const event = present && strip.ofTrack(present.track_id);
  if (event && event.event_id !== view.event?.event_id) show(event);
}

function silent() {
  const button = document.getElementById("sound");
  const on = sound.isOn();
  button.setAttribute("aria-pressed", on);
  button.replaceChildren(icon(on ? "sound" : "silence"));
  button.title = say(on ? "nav.sound.on" : "nav.sound.off");
}

document.getElementById("sound").addEventListener("click", () => {
  sound.turn(!sound.isOn());
  silent();
});

document.getElementById("scan").addEventListener("click", async () => {
  try {
    await tell("/api/commands/scan");
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    toast(error.message, "bad");
  }
});

silent();
view.rest();
follow(
  "/api/stream?outlines=1",
  {
    card: take,
    health: (health) => (link.health = health),
    controls: control,
    outlines: (seen) => preview.show(seen),
    session: (counts) => session.show(counts),
  },
  (reachable) => {
    link.reachable = reachable;
    if (!reachable) return preview.stop();
    preview.start();
    catchUp().catch((error) => {
      if (!(error instanceof ApiError)) throw error;
    });
  },
);
