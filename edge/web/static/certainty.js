// How certain the scanner is, as a text and a level of five. There is no percentage, because a verification is not a probability: the text
// depends on how far it is above the threshold.

const VERY = 0.6;
const SURE = 0.25;

/** Return {level: 1..5, word: key of the text} for an event. `threshold` is the lowest verification of a named card. */
export function certainty(event, threshold) {
  if (event.type === "corrected") return { level: 5, word: "sure.person" };
  if (event.type === "unknown") return { level: 1, word: "sure.none" };
  if (event.type === "uncertain") return { level: 2, word: "sure.not" };
  const lead = (event.verification - threshold) / Math.max(1e-6, 1 - threshold);
  if (lead >= VERY) return { level: 5, word: "sure.very" };
  return lead >= SURE ? { level: 4, word: "sure.sure" } : { level: 3, word: "sure.fairly" };
}
