"""Build an index bundle from card pictures and a card list.

    python -m tools.build_index --images DIR --cards cards.csv --out DIR [--model DIR] [--name NAME] [--threads N] [--strict] [--json]

The list is CSV with a header row: card_id, name, image required; set, number, rarity, language, artwork_group known; other columns are
kept as attributes. Image paths are relative to --images. Pictures that cannot be used are named and left out.

Exit status: 0 done, 64 usage, 65 bad list, no usable picture, or (--strict) any picture left out, 69 network unavailable.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn, TypeAlias, TypeVar

import cv2
import numpy as np
from tqdm import tqdm

if __package__ in {None, ""}:  # started as a file: the project's root is not on the path yet
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from edge.adapters.hnsw import write_graph
from edge.adapters.onnx import OnnxEmbedder
from edge.bundles.bundle_writing import BundleContents, check_new, write_bundle
from edge.bundles.manifest import Manifest
from edge.embedding import EmbeddingMatrix, InputBatch
from edge.errors import DataError, EdgeError, ExitCode, ImageError
from edge.gallery import Card, Gallery
from edge.model import open_model, self_test
from edge.model_search import find_model
from edge.neighbors import CardId
from tools.artwork import same_artwork
from tools.card_list import CardList, CardPicture, read_card_list
from tools.reference import Reference, read_reference

if TYPE_CHECKING:
    from edge.pipeline import Embedder

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

EMBED_TIMEOUT_S: Final = 120.0
_BATCHES_AHEAD: Final = 4
_BATCHES_IN_FLIGHT: Final = 2

Advance: TypeAlias = Callable[[int], object]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A picture that could not be used."""

    line: int
    image: str
    reason: str


class Prepared(NamedTuple):
    """A picture ready for the network."""

    row: CardPicture
    network_input: InputBatch
    reference: Reference


@dataclass(frozen=True, eq=False)
class Entries:
    """The usable pictures in the order of the list, and their embeddings."""

    pictures: tuple[CardPicture, ...]
    references: tuple[Reference, ...]
    vectors: EmbeddingMatrix
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True, slots=True)
class Built:
    """What a run made. ``images_per_s`` counts reading and embedding together."""

    manifest: Manifest
    left_out: tuple[LeftOut, ...]
    images_per_s: float


def build_index(card_list: CardList, images: Path, out: Path, embedder: Embedder, *, name: str, threads: int, advance: Advance) -> Built:
    """Build a bundle at ``out``, which must not exist. ``advance`` hears of each picture done. Raises ``EdgeError``."""
    check_new(out)
    rows = card_list.rows
    started = time.monotonic()
    entries = embed_pictures(rows, images, embedder, threads=threads, advance=advance)
    images_per_s = len(rows) / (time.monotonic() - started)
    if not entries.pictures:
        first = entries.left_out[0]
        raise DataError(f"{card_list.path}: none of its {len(rows)} pictures is usable; the first: {first.reason}")
    contents = BundleContents(
        name=name,
        model_id=embedder.model_id,
        artefact=embedder.artefact,
        vectors=entries.vectors,
        gallery=_gallery(entries, groups_given=card_list.groups_given),
        pictures=_card_pictures(entries),
        created=datetime.now(UTC).replace(microsecond=0),
    )
    return Built(write_bundle(out, contents, write_graph), entries.left_out, images_per_s)


def embed_pictures(rows: Sequence[CardPicture], images: Path, embedder: Embedder, *, threads: int, advance: Advance) -> Entries:
    """Read pictures in ``threads`` while the network embeds those read before, two batches in flight."""

    def read(row: CardPicture) -> Prepared | LeftOut:
        try:
            network_input, reference = read_reference(images / row.image)
        except ImageError as error:
            return LeftOut(row.line, row.image, str(error))
        return Prepared(row, network_input, reference)

    left_out: list[LeftOut] = []

    def usable(results: Iterable[Prepared | LeftOut]) -> Iterator[Prepared]:
        for result in results:
            if isinstance(result, LeftOut):
                left_out.append(result)
                advance(1)
            else:
                yield result

    pictures: list[CardPicture] = []
    references: list[Reference] = []
    vectors = [np.empty((0, embedder.dim), dtype=np.float32)]
    with ThreadPoolExecutor(threads, thread_name_prefix="read") as pool:
        results = _mapped(pool, read, rows, ahead=_BATCHES_AHEAD * embedder.max_batch + threads)
        for batch, embedded in _embedded(embedder, _batched(usable(results), embedder.max_batch)):
            pictures += [prepared.row for prepared in batch]
            references += [prepared.reference for prepared in batch]
            vectors.append(embedded)
            advance(len(batch))
    return Entries(tuple(pictures), tuple(references), np.concatenate(vectors), tuple(left_out))


def _mapped(pool: ThreadPoolExecutor, work: Callable[[_Item], _Result], items: Iterable[_Item], *, ahead: int) -> Iterator[_Result]:
    """Map in order; at most ``ahead`` results wait, so that memory does not grow with the list."""
    running: deque[Future[_Result]] = deque()
    try:
        for item in items:
            if len(running) == ahead:
                yield running.popleft().result()
            running.append(pool.submit(work, item))
        while running:
            yield running.popleft().result()
    finally:
        for future in running:
            future.cancel()


def _batched(items: Iterable[Prepared], size: int) -> Iterator[list[Prepared]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _embedded(embedder: Embedder, batches: Iterable[list[Prepared]]) -> Iterator[tuple[list[Prepared], EmbeddingMatrix]]:
    running: deque[tuple[list[Prepared], Future[EmbeddingMatrix]]] = deque()
    for batch in batches:
        if len(running) == _BATCHES_IN_FLIGHT:
            done, future = running.popleft()
            yield done, future.result(EMBED_TIMEOUT_S)
        running.append((batch, embedder.submit(np.concatenate([prepared.network_input for prepared in batch]))))
    for done, future in running:
        yield done, future.result(EMBED_TIMEOUT_S)


def _gallery(entries: Entries, *, groups_given: bool) -> Gallery:
    """Return the gallery; artwork groups are those of the list, else found in the pictures."""
    cards: dict[CardId, Card] = {}
    owners = [picture.card.card_id for picture in entries.pictures]
    found = [] if groups_given else same_artwork([reference.artwork for reference in entries.references], owners)
    for entry, picture in enumerate(entries.pictures):
        card = picture.card
        group = (card.artwork_group or card.card_id) if groups_given else owners[found[entry]]
        cards.setdefault(card.card_id, replace(card, artwork_group=group))
    signatures = np.stack([reference.signature for reference in entries.references])
    return Gallery(cards, tuple(owners), signatures)


def _card_pictures(entries: Entries) -> Iterator[tuple[CardId, bytes]]:
    """Yield the first usable picture of each card."""
    seen: set[CardId] = set()
    for picture, reference in zip(entries.pictures, entries.references, strict=True):
        if picture.card.card_id not in seen:
            seen.add(picture.card.card_id)
            yield picture.card.card_id, reference.picture


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool and return its exit status."""
    args = _parser().parse_args(arguments)
    cv2.setNumThreads(1)  # pictures are small and many: whole pictures run side by side
    try:
        built = _run(args)
    except EdgeError as error:
        print(f"build_index: {error}", file=sys.stderr)
        return int(error.exit_code)
    for left_out in built.left_out:
        print(f"left out, line {left_out.line}: {left_out.reason}", file=sys.stderr)
    print(_as_json(args.out, built) if args.json else _as_text(args.out, built))
    return int(ExitCode.BAD_DATA if args.strict and built.left_out else ExitCode.OK)


def _run(args: argparse.Namespace) -> Built:
    # everything that can be refused is refused before the network runs for an hour
    check_new(args.out)
    card_list = read_card_list(args.cards)
    model = open_model(find_model(args.model))
    with closing(OnnxEmbedder(model, arena=True, submit_timeout_s=EMBED_TIMEOUT_S)) as embedder:
        self_test(embedder.submit, model, kind="onnx")
        with tqdm(total=len(card_list.rows), unit="card", desc="embedding", file=sys.stderr, disable=None) as bar:
            return build_index(
                card_list, args.images, args.out, embedder, name=args.name or args.out.name, threads=args.threads, advance=bar.update
            )


class _Parser(argparse.ArgumentParser):
    """Ends with our own status for a wrong command line."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(ExitCode.USAGE, f"{self.prog}: {message}; see --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="build_index", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder the image paths are relative to")
    parser.add_argument("--cards", type=Path, required=True, metavar="CSV", help="the card list")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the bundle's directory; must not exist")
    parser.add_argument("--model", type=Path, metavar="DIR", help="folder of the network (default: the one under hef/)")
    parser.add_argument("--name", help="what people call the bundle (default: the name of --out)")
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count() or 1, choices=range(1, 257), metavar="N", help="threads reading pictures"
    )
    parser.add_argument("--strict", action="store_true", help="exit with 65 when any picture had to be left out")
    parser.add_argument("--json", action="store_true", help="one JSON object about the bundle on standard output")
    return parser


def _as_text(out: Path, built: Built) -> str:
    manifest = built.manifest
    recall = f", recall@1 {manifest.recall.at_1:.4f}" if manifest.recall else ""
    shared = manifest.cards - manifest.artwork_groups
    return (
        f"{out}: bundle {manifest.bundle_id}, {manifest.cards} cards ({shared} share an artwork with another), {manifest.entries} pictures"
        f"{recall}; {len(built.left_out)} left out; {built.images_per_s:.1f} pictures/s"
    )


def _as_json(out: Path, built: Built) -> str:
    manifest = built.manifest.model_dump(mode="json")
    facts = {key: manifest[key] for key in ("bundle_id", "name", "model_id", "cards", "entries", "artwork_groups", "graph", "recall")}
    left_out = [asdict(left_out) for left_out in built.left_out]
    return json.dumps({"path": str(out), **facts, "images_per_s": round(built.images_per_s, 2), "left_out": left_out}, ensure_ascii=False)


if __name__ == "__main__":
    sys.exit(main())
