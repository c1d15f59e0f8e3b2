"""Measure how well descriptions find pictures with a text model, and print a table with 95 % intervals.

    python -m tools.evaluate_text --index BUNDLE --cards cards.csv [--names] [--text-model DIR] [--json] [--write]

With a list written by ``tools.make_cards --catalog``: every artwork is described in full, with combinations of color and subject that took
part in training and others apart; then searches by a few words, which fit several cards. With ``--names``: name and rarity of each card of
any list. The cards should not have been trained on. A query is right if a fitting artwork is among the ten nearest of the bundle;
``by chance`` is the same for ten artworks drawn at random. ``--write`` records the rows in the ``model.json`` of the text model.

Exit status: 0 done, 64 usage, 65 bad data.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from edge.adapters.onnx import OnnxTextEmbedder
from edge.cli.arguments import CommandLineParser
from edge.errors import DataError, EdgeError
from edge.index.releases import open_index
from edge.recognition.embedding import ModelId
from edge.recognition.gallery import Card
from edge.recognition.model import MODEL_FILE
from edge.recognition.text_model import TextModel, find_text_model, open_text_model
from edge.system.files import write_atomically
from tools.bundle_build.card_list import read_card_list
from tools.drawing.wording import Attributes, read_described_cards
from tools.evaluation.descriptions import DescriptionRow, artworks_of, as_table, measure_descriptions, measure_names


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = _arguments(arguments)
    try:
        rows = _measure(args)
    except EdgeError as error:
        print(f"evaluate_text: {error}", file=sys.stderr)
        return int(error.exit_code)
    if args.json:
        for row in rows:
            print(json.dumps(row.as_record()))
    else:
        print(as_table(rows))
    return 0


def _measure(args: argparse.Namespace) -> list[DescriptionRow]:
    model = open_text_model(find_text_model(args.text_model))
    bundle = open_index(args.index)
    if bundle.manifest.projection is not None:
        raise DataError(f"{bundle.path}: its rows are projected; measure with a bundle built without --pca")
    embedder, model_id = OnnxTextEmbedder(model), ModelId(bundle.manifest.model_id)
    if args.names:
        cards = [_attributes(row.card) for row in read_card_list(args.cards).rows]
        rows = measure_names(artworks_of(bundle, cards), embedder, model_id)
    else:
        rows = measure_descriptions(artworks_of(bundle, read_described_cards(args.cards)), embedder, model_id)
    if args.write:
        _write(model, rows, "names" if args.names else "descriptions")
    return rows


def _attributes(card: Card) -> Attributes:
    return {"card_id": card.card_id, "name": card.name, "rarity": card.rarity or ""}


def _write(model: TextModel, rows: Sequence[DescriptionRow], what: str) -> None:
    """Record the rows in ``model.json``."""
    measured = {**model.manifest.measured, what: [row.as_record() for row in rows]}
    changed = model.manifest.model_copy(update={"measured": measured})
    write_atomically(model.folder / MODEL_FILE, changed.to_json(), durable=False)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLineParser(prog="evaluate_text", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", type=Path, required=True, metavar="DIR", help="bundle, or a folder of releases")
    parser.add_argument("--cards", type=Path, required=True, metavar="CSV", help="the list it was built from")
    parser.add_argument("--text-model", type=Path, metavar="DIR", help="folder of the text model (default: the only one under hef/)")
    parser.add_argument("--names", action="store_true", help="the list has no descriptions: search for name and rarity of each card")
    parser.add_argument("--json", action="store_true", help="one JSON object per row on standard output")
    parser.add_argument("--write", action="store_true", help="record the rows in the model.json of the text model")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
