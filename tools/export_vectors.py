"""Write the ids and vectors of a bundle for other pipelines.

    python -m tools.export_vectors BUNDLE --out FILE [--packed float32|float16|int8] [--json]

FILE ends in .npz, .jsonl, .parquet or .npy (with the ids beside it in FILE.ids.txt); see index/README.md. Each row has card_id, name,
artwork_group and the vector, float32 of unit length; .npz and .parquet also contain the model id. For a projected bundle the vectors are
the projected ones, and a note on standard error says so.

Exit status: 0 done, 64 usage, 65 a bundle that cannot be read or a file that cannot be written.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from edge.cli.arguments import CommandLineParser
from edge.errors import EdgeError, ExitCode
from edge.index.releases import open_index
from tools.vectors.table_writing import table_of, write_vector_table


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool and return its exit status."""
    args = _parser().parse_args(arguments)
    try:
        bundle = open_index(args.bundle)
        write_vector_table(args.out, table_of(bundle), packed=args.packed)
    except EdgeError as error:
        print(f"export_vectors: {error}", file=sys.stderr)
        return int(error.exit_code)
    manifest = bundle.manifest
    if manifest.projection is not None:
        print(f"export_vectors: the vectors are projections of embeddings of {manifest.projection.input_dim} numbers", file=sys.stderr)
    facts = {"path": str(args.out), "rows": manifest.entries, "dim": manifest.dim, "model_id": manifest.model_id}
    print(
        json.dumps(facts, ensure_ascii=False)
        if args.json
        else f"{args.out}: {manifest.entries} vectors of {manifest.dim}, network {manifest.model_id}"
    )
    return int(ExitCode.OK)


def _parser() -> argparse.ArgumentParser:
    parser = CommandLineParser(prog="export_vectors", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a bundle, or a device's root")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the file to write; must not exist")
    parser.add_argument(
        "--packed", choices=("float32", "float16", "int8"), help="vectors of .jsonl (base64) and .parquet as bytes with a header of 8"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object about the file on standard output")
    return parser


if __name__ == "__main__":
    sys.exit(main())
