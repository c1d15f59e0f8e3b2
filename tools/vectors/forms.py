"""The forms in which a bundle stores its vectors, and the options that select one."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Final

from edge.adapters.hnsw import write_former_graph, write_graph
from edge.adapters.int8 import write_coarse
from edge.bundles.bundle import Bundle
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


def proposal_writer(form: VectorForm, previous: Bundle | None = None, *, chunks: bool = True) -> GraphWriter:
    """Return the function that writes the search structure of a form, for a bundle with ``chunks`` or of an earlier format.

    It keeps what it can of that of the ``previous`` bundle.
    """
    if form.proposals == "int8":
        return write_coarse
    if not chunks:
        return write_former_graph
    return partial(write_graph, known_projection=previous.graph_projection) if previous else write_graph
