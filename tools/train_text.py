"""Train the text model of ``cardedge index search --describe`` on a bundle of described cards, and export it.

    python -m tools.make_cards --out catalog --catalog --count 5000 --format webp
    python -m tools.build_index --images catalog --cards catalog/cards.csv --out catalog-bundle
    python -m tools.train_text --index catalog-bundle --cards catalog/cards.csv --out hef/text-NAME

Trains a small network against the embeddings in the bundle, which stay as they are, in minutes on one core. Every seventh combination of
color and subject is held out, for ``tools.evaluate_text``. The text model can be used with every bundle of the same picture model.

Exit status: 0 done, 64 usage, 65 bad data, 69 a missing extra (``train``).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge.cli.arguments import CommandLineParser, positive_count
from edge.errors import DataError, EdgeError
from edge.index.releases import open_index
from edge.recognition.embedding import ModelId
from edge.recognition.neighbors import CardId
from tools.drawing.wording import Attributes, is_held_out, read_described_cards
from tools.extras import extra_required


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = _arguments(arguments)
    try:
        with extra_required("train_text"):
            from tools.exporting.text_folder import TrainedText, export_text_model
            from tools.training.text_tower import PictureSet, TextSettings, train_text_tower, use_threads
        bundle = open_index(args.index)
        if bundle.manifest.projection is not None:
            raise DataError(f"{bundle.path}: its rows are projected; train with a bundle built without --pca")
        cards = {card["card_id"]: card for card in read_described_cards(args.cards) if not is_held_out(card)}
        entries, known = _entries(bundle.gallery.entry_card_ids, cards)
        groups = [bundle.gallery.artwork_group(CardId(card["card_id"])) for card in known]
        vectors = np.asarray(bundle.vectors[entries], dtype=np.float32)
        pictures = PictureSet(vectors, np.unique(groups, return_inverse=True)[1].astype(np.int64), known)
        settings = TextSettings(steps=args.steps, seed=args.seed)
        use_threads(args.threads)
        weights = train_text_tower(pictures, settings).weights()
        model_id = ModelId(bundle.manifest.model_id)
        trained = TrainedText(weights, settings, model_id, pictures, {"bundle": bundle.manifest.bundle_id, "list": args.cards.name})
        manifest = export_text_model(trained, args.out)
    except EdgeError as error:
        print(f"train_text: {error}", file=sys.stderr)
        return int(error.exit_code)
    print(f"{args.out}: text model {manifest.model_id} for picture model {model_id}, trained on {len(known)} cards")
    return 0


def _entries(owners: Sequence[CardId], cards: dict[str, Attributes]) -> tuple[list[int], list[Attributes]]:
    """Return the entries of a bundle whose card is described, and their descriptions. Raises ``DataError`` if there are too few."""
    found = [(entry, cards[owner]) for entry, owner in enumerate(owners) if owner in cards]
    if len(found) < 2:
        raise DataError("the list describes no cards of the bundle that training may use; name the list the bundle was built from")
    return [entry for entry, _ in found], [card for _, card in found]


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLineParser(prog="train_text", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", type=Path, required=True, metavar="DIR", help="bundle of described cards")
    parser.add_argument("--cards", type=Path, required=True, metavar="CSV", help="list written by tools.make_cards --catalog")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write; replaced when everything held")
    parser.add_argument("--steps", type=positive_count, default=160, metavar="N", help="steps of training (default 160)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the training (default 1)")
    parser.add_argument("--threads", type=positive_count, default=1, metavar="N", help="threads (default 1)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
