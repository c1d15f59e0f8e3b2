// How sure the scanner is, in words and as one of five steps. There is no percentage, for a verification is no probability: what it means
// is settled by the threshold, so the words tell how far it lies above that.

const VERY = 0.6;
const SURE = 0.25;

/** Return {level: 1..5, word: key of the texts} for an event; `threshold` is the verification from which a card is named. */
export function certainty(event, threshold) {
  if (event.type === "corrected") return { level: 5, word: "sure.person" };
  if (event.type === "unknown") return { level: 1, word: "sure.none" };
  if (event.type === "uncertain") return { level: 2, word: "sure.not" };
  const lead = (event.verification - threshold) / Math.max(1e-6, 1 - threshold);
  if (lead >= VERY) return { level: 5, word: "sure.very" };
  return lead >= SURE ? { level: 4, word: "sure.sure" } : { level: 3, word: "sure.fairly" };
}
