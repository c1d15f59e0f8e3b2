// Synthesized sounds: two rising notes for a named or counted card, one for an uncertain one or one that waits, two falling notes for an unknown
// one, a low one for a card that was not counted, and three for one that cannot be counted.

const KEY = "cardedge.sound";
const NOTES = {
  identified: [[659.3, 0], [987.8, 0.09]],
  corrected: [[783.99, 0], [987.8, 0.09]],
  uncertain: [[587.3, 0]],
  unknown: [[329.6, 0], [293.7, 0.12]],
  counted: [[659.3, 0], [987.8, 0.09]],
  moved: [[783.99, 0], [987.8, 0.09]],
  again: [[440, 0]],
  waiting: [[587.3, 0]],
  to_confirm: [[587.3, 0], [587.3, 0.12]],
  outside: [[329.6, 0]],
  paused: [[329.6, 0]],
  full: [[329.6, 0], [293.7, 0.12], [261.6, 0.24]],
};
const LOUDNESS = 0.07;
const LENGTH_S = 0.45;

let context = null;

export function isOn() {
  return localStorage.getItem(KEY) !== "off";
}

export function enable(on) {
  localStorage.setItem(KEY, on ? "on" : "off");
  if (on) play("identified");
}

/** Play the sound of an event. Browsers play none until the user has touched the page; the kiosk's browser is configured to allow it. */
export function play(type) {
  if (!isOn() || !(type in NOTES)) return;
  requestAnimationFrame(() => setTimeout(() => playNotes(NOTES[type]))); // after the card is shown: to open the sound device may take a second
}

function playNotes(notes) {
  context ??= new AudioContext();
  if (context.state === "suspended") context.resume();
  for (const [frequency, after] of notes) playNote(frequency, context.currentTime + after);
}

function playNote(frequency, at) {
  const tone = new OscillatorNode(context, { type: "sine", frequency });
  const volume = new GainNode(context, { gain: 0 });
  volume.gain.setValueAtTime(0, at);
  volume.gain.linearRampToValueAtTime(LOUDNESS, at + 0.02);
  volume.gain.exponentialRampToValueAtTime(0.0001, at + LENGTH_S);
  tone.connect(volume).connect(context.destination);
  tone.start(at);
  tone.stop(at + LENGTH_S);
}
