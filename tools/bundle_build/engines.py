"""The engine of a build: this machine, or Daft (``tools.bundle_build.daft_engine``)."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from edge.errors import UsageError
from tools.bundle_build.card_list import ListedImage
from tools.bundle_build.stages import Entries
from tools.extras import extra_required

if TYPE_CHECKING:
    from edge.recognition.model import Model

Engine: TypeAlias = Callable[[Sequence[ListedImage]], Entries]
"""Reads and embeds the images of a list."""


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--engine`` and the options that belong to it."""
    parser.add_argument("--engine", choices=("local", "daft"), default="local", help="daft: workers on this machine or on a Ray cluster")
    parser.add_argument("--ray", metavar="ADDRESS", help="with daft: the Ray cluster to use, such as auto or ray://head:10001")
    parser.add_argument("--s3-endpoint", metavar="URL", help="with daft: the object store behind s3://, where it is not Amazon's")
    parser.add_argument(
        "--embeddings",
        metavar="DIR",
        help="with daft: keep the workers' Parquet files in this empty folder or address (Ray: of every node)",
    )


def chosen_engine(args: argparse.Namespace, model: Model) -> Engine | None:
    """Return the engine selected on the command line, None for the local one. Raises ``UsageError`` for options that do not match it."""
    if args.engine == "local":
        given = [name for name in ("ray", "s3_endpoint", "embeddings") if getattr(args, name) is not None]
        if given:
            raise UsageError(f"--{given[0].replace('_', '-')} is for --engine daft")
        if not Path(args.images).is_dir():
            raise UsageError(f"--images {args.images}: no such folder; addresses and Parquet files need --engine daft")
        return None
    if args.ray is not None and args.embeddings is None:
        raise UsageError("--ray needs --embeddings: a folder or address that every node reaches under the same name")
    if (
        args.embeddings is not None
        and "://" not in args.embeddings
        and Path(args.embeddings).is_dir()
        and any(Path(args.embeddings).iterdir())
    ):
        raise UsageError(f"--embeddings {args.embeddings}: not empty; name another folder")
    # read when daft is imported: nothing about a build is reported to anyone
    os.environ["DO_NOT_TRACK"] = "true"
    with extra_required("--engine daft"):
        from tools.bundle_build.daft_engine import DaftSettings, embed_with_daft
    settings = DaftSettings(args.threads, args.ray, args.s3_endpoint)

    def embed(rows: Sequence[ListedImage]) -> Entries:
        if args.embeddings is not None:
            return embed_with_daft(rows, args.images, model.folder, args.embeddings, settings)
        with tempfile.TemporaryDirectory(prefix=f".{args.out.name}.", suffix=".embeddings", dir=args.out.absolute().parent) as folder:
            return embed_with_daft(rows, args.images, model.folder, folder, settings)

    return embed
