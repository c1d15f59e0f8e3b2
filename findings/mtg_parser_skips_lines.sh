#!/usr/bin/env bash
# mtg-parser 0.0.1a61: lines of a decklist that it does not understand are left out without an error.
#
# Guess: `parse_deck` reads "1 Name (SET) 123" for every real card, or raises for a line that it cannot read. A finish
# behind the number ("*F*") is read, so the other one that deck sites write ("*E*", etched foil) is too.
# Seen: 3 of 9 lines are returned, the other six are missing from the result, and nothing is raised or logged:
#   - a number with the star that Scryfall gives to some printings, with or without a finish;
#   - a name with an exclamation mark or with brackets;
#   - the finish "*E*";
#   - the code of the set in square brackets.
# What follows for a user: a list that was read without an error may be shorter than the file; count the copies.
#
# Exits 0 while the behavior is as described, 1 otherwise.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "mtg-parser==0.0.1a61"
cd "$work"
"$work/venv/bin/python" -I - <<'PYTHON'
import sys

import mtg_parser

LINES = {
    "1 Lightning Bolt (LEB) 162": True,
    "1 Arcane Signet (CLB) 297 *F*": True,
    "1 Sol Ring (PLST) C21-263": True,
    "1 Teferi's Protection (SLD) 1234★": False,
    "1 Sol Ring (SLD) 1512★ *F*": False,
    "1 Ach! Hans, Run! (UNH) 116": False,
    "1 B.F.M. (Big Furry Monster) (UGL) 28": False,
    "1 Llanowar Elves (M19) 314 *E*": False,
    "1 Island [UST] 213": False,
}

read = {line: bool(list(mtg_parser.parse_deck(line) or ())) for line in LINES}
for line, understood in read.items():
    print(f"{'read   ' if understood else 'skipped'}  {line}")
together = sum(card.quantity for card in mtg_parser.parse_deck("\n".join(LINES)) or ())
print(f"all {len(LINES)} lines in one list: {together} cards, no error")
as_described = read == LINES and together == sum(LINES.values())
print("as described" if as_described else "CHANGED: the behavior is no longer as described")
sys.exit(0 if as_described else 1)
PYTHON
