"""Make a bundle from ids and vectors of another pipeline, for `cardedge index search`.

    python -m tools.import_vectors FILE --out DIR [--model-id ID] [--pca N] [--vectors float32|float16|int8] [--normalize] [--json]

FILE is .npz, .jsonl, .parquet, or .npy with its ids in a text file; see index/README.md. Vectors have the dimension of their model and unit
length. The bundle records the model's id. It contains no signatures and no images, so a scanner rejects it: it could find similar cards,
but not verify that they are the same card.

Exit status: 0 done, 64 usage, 65 an invalid row or file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from edge.bundles.manifest import Manifest
from edge.bundles.writer import BundleContents, check_new, write_bundle
from edge.cli.arguments import CommandLineParser
from edge.errors import EdgeError, ExitCode, UsageError
from edge.recognition.embedding import ModelId
from edge.recognition.gallery import Card, Gallery
from edge.recognition.neighbors import CardId
from tools.vectors.forms import FORMS, add_form_options, proposal_writer
from tools.vectors.reduction import ReductionCost, describe_reduction, fit_pca, measure_reduction
from tools.vectors.table import Columns, VectorTable, read_vector_table


def import_vectors(
    table: VectorTable, out: Path, *, model_id: str, name: str, vectors: str = "float16", pca: int | None = None
) -> tuple[Manifest, ReductionCost | None]:
    """Write a bundle of the table's rows at ``out``, which must not exist; return its manifest and what a projection cost."""
    check_new(out)
    gallery = gallery_of(table)
    reduction = fit_pca(table.vectors, pca) if pca is not None else None
    contents = BundleContents(
        name=name,
        model_id=ModelId(model_id),
        artefact=None,
        vectors=reduction.projection.apply(table.vectors) if reduction else table.vectors,
        gallery=gallery,
        reference_images=(),
        created=datetime.now(UTC).replace(microsecond=0),
        form=FORMS[vectors],
        reduction=reduction,
    )
    manifest = write_bundle(out, contents, proposal_writer(contents.form))
    groups = [gallery.artwork_group(card_id) for card_id in gallery.entry_card_ids]
    return manifest, measure_reduction(table.vectors, groups, reduction) if reduction else None


def gallery_of(table: VectorTable) -> Gallery:
    """Return the cards of a table; a card without ``artwork_group`` is in a group of its own. Signatures have no bytes."""
    cards = {
        CardId(card_id): Card(CardId(card_id), name, group or card_id)
        for card_id, name, group in zip(table.card_ids, table.names, table.artwork_groups, strict=True)
    }
    return Gallery(cards, tuple(CardId(card_id) for card_id in table.card_ids), np.empty((len(table.card_ids), 0), dtype=np.uint8))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool and return its exit status."""
    args = _parser().parse_args(arguments)
    try:
        check_new(args.out)
        columns = Columns(card_id=args.id_column, vector=args.vector_column)
        table = read_vector_table(args.file, columns=columns, ids=args.ids, normalize=args.normalize)
        model_id = args.model_id or table.model_id
        if not model_id:
            raise UsageError(f"{args.file}: does not say which network made its vectors; name it with --model-id")
        manifest, cost = import_vectors(
            table, args.out, model_id=model_id, name=args.name or args.out.name, vectors=args.vectors, pca=args.pca
        )
    except EdgeError as error:
        print(f"import_vectors: {error}", file=sys.stderr)
        return int(error.exit_code)
    print(_as_json(args.out, manifest, cost) if args.json else _as_text(args.out, manifest, cost))
    return int(ExitCode.OK)


def _parser() -> argparse.ArgumentParser:
    parser = CommandLineParser(prog="import_vectors", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, metavar="FILE", help="the ids and vectors: .npz, .jsonl, .parquet or .npy")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the bundle's directory; must not exist")
    parser.add_argument("--model-id", metavar="ID", help="the network that made the vectors, as you call it (default: what FILE says)")
    parser.add_argument("--name", help="what people call the bundle (default: the name of --out)")
    parser.add_argument("--ids", type=Path, metavar="TXT", help="one id per row of a .npy (default: FILE with .ids.txt)")
    parser.add_argument("--id-column", default="card_id", metavar="NAME", help="what FILE calls the ids (default card_id)")
    parser.add_argument("--vector-column", default="vector", metavar="NAME", help="what FILE calls the vectors (default vector)")
    parser.add_argument("--normalize", action="store_true", help="divide each vector by its length instead of refusing it")
    add_form_options(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object about the bundle on standard output")
    return parser


def _as_text(out: Path, manifest: Manifest, cost: ReductionCost | None) -> str:
    recall = f", recall@1 {manifest.recall.at_1:.4f}" if manifest.recall else ""
    text = f"{out}: bundle {manifest.bundle_id}, {manifest.entries} vectors of {manifest.dim} for {manifest.cards} cards{recall}"
    return f"{text}\n{describe_reduction(cost)}" if cost else text


def _as_json(out: Path, manifest: Manifest, cost: ReductionCost | None) -> str:
    content = manifest.model_dump(mode="json")
    facts = {key: content[key] for key in ("bundle_id", "name", "model_id", "cards", "entries", "dim", "recall")}
    return json.dumps({"path": str(out), **facts, "reduction": asdict(cost) if cost else None}, ensure_ascii=False)


if __name__ == "__main__":
    sys.exit(main())
