#!/usr/bin/env bash
# @flesh-and-blood/cards 3.8.6 (npm; the card data of Flesh and Blood): a printed number does not name one card.
#
# Guess: code of the set and collector number ("WTR001"), which is what a card bears, identify the card, and with the
# finish (foil or not) the printing. A reader of numbers tells what the artwork does not.
# Seen, among 8,626 numbers:
#   - 73 stand on cards with two different names. Nearly all are the two faces of one card, each listed as a card of
#     its own; of a few the two have nothing in common but the number (HER146).
#   - 1,668 stand on more than one picture: an unlimited edition beside a first one, extended art, the back.
#   - 427 begin with a digit ("1HP001"): a pattern of three letters and three digits does not fit them.
# What follows for a user: numbers narrow the printings of an artwork down, they do not replace the artwork; a list with
# this number as its key loses cards.
#
# Exits 0 while the data are as described, 1 otherwise.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
cd "$work"
npm install --silent --no-save --ignore-scripts "@flesh-and-blood/cards@3.8.6" >/dev/null
cat >count.cjs <<'JAVASCRIPT'
const { cards } = require("@flesh-and-blood/cards");
const printings = new Map();
for (const card of cards) {
  for (const { identifier, image } of card.printings ?? []) {
    if (!printings.has(identifier)) printings.set(identifier, { names: new Set(), images: new Set() });
    printings.get(identifier).names.add(card.name);
    printings.get(identifier).images.add(image);
  }
}
const all = [...printings];
const found = {
  numbers: all.length,
  severalNames: all.filter(([, each]) => each.names.size > 1).length,
  severalImages: all.filter(([, each]) => each.images.size > 1).length,
  digitFirst: all.filter(([number]) => /^\d/.test(number)).length,
};
const names = (number) => [...printings.get(number).names].sort().join(" | ");
console.log(`${found.numbers} numbers; ${found.severalNames} of cards with different names, ${found.severalImages} of several images`);
console.log(`${found.digitFirst} begin with a digit`);
for (const number of ["MST010", "HER146"]) console.log(`${number}: ${names(number)}`);
const expected = { numbers: 8626, severalNames: 73, severalImages: 1668, digitFirst: 427 };
const same = Object.entries(expected).every(([key, value]) => found[key] === value)
  && names("HER146") === "Kassai of the Golden Sand | Tuffnut, Bumbling Hulkster";
console.log(same ? "as described" : "CHANGED: the data are no longer as described");
process.exit(same ? 0 : 1);
JAVASCRIPT
node count.cjs
