"""The forms in which a bundle stores its vectors, and the options that select one."""

from __future__ import annotations

import argparse
from typing import Final

from edge.adapters.hnsw import write_graph
from edge.adapters.int8 import write_coarse
from edge.bundles.writer import GraphWriter, VectorForm
from edge.cli.arguments import positive_count

FORMS: Final[dict[str, VectorForm]] = {
    "float16": VectorForm("float16", "graph"),
    "float32": VectorForm("float32", "graph"),
    "int8": VectorForm("float16", "int8"),
}
"""``int8`` keeps float16 rows for the exact comparison; a scan over rows of int8 proposes them, and there is no graph."""


def add_form_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--vectors`` and ``--pca``."""
    parser.add_argument(
        "--vectors",
        choices=FORMS,
        default="float16",
        help="float16 (default) or float32 with a graph; int8: no graph, so less memory, but slower to search",
    )
    parser.add_argument(
        "--pca",
        type=positive_count,
        metavar="N",
        help="keep N principal components of the embeddings; prints recall and separation before and after",
    )


def proposal_writer(form: VectorForm) -> GraphWriter:
    """Return the function that writes the search structure of a form."""
    return write_coarse if form.proposals == "int8" else write_graph
