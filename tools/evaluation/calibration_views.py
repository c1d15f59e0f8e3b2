"""The views for calibrating a bundle, and their comparisons with the bundle's cards."""

from __future__ import annotations

import hashlib
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import groupby, islice, product
from pathlib import Path
from time import monotonic
from typing import Final

import numpy as np
from tqdm import tqdm

from edge.bundles.bundle import Bundle
from edge.bundles.calibration import Provenance
from edge.recognition.color import recolored_share
from edge.recognition.embedding import to_input_batch
from edge.recognition.neighbors import CardId
from edge.recognition.recognizer import NEIGHBORS_K, CardViews, Embedder, LoadedGallery
from edge.recognition.verification import LUMA_SIGNATURE_ID, compare_pixels, signature_of, stored_kind
from edge.vision.frame import RgbImage
from edge.vision.image_file import read_image
from tools.evaluation.calibration import Observation, ViewKind
from tools.evaluation.hidden_artwork import LoneEntryIndex, OtherEntry, lone_siblings, with_instead, without_artwork
from tools.evaluation.queries import Dataset, read_background, whole_card
from tools.simulation.camera import PRESETS, degrade
from tools.simulation.card_images import read_card
from tools.simulation.recolor import recolor

_NEGATIVE: Final = "as it is"
_LEAST_RECOLORED: Final = 0.1
"""Share of the card's cells whose color must change: of a gray card nobody could tell the copy in other colors."""
_TIMED_VIEWS: Final = 3
"""Views that are compared before the calibration starts, to estimate its time; the first one only warms up."""


@dataclass(frozen=True, slots=True, eq=False)
class LabeledView:
    """A rectified image, the kind of query it is, the preset of its camera, and the indexed card it shows, if any.

    ``subject`` names what it shows, indexed or not.
    """

    pixels: RgbImage
    kind: ViewKind
    preset: str
    subject: str
    card_id: CardId | None = None


@dataclass(frozen=True, slots=True, eq=False)
class BundleUnderTest:
    """Embedder, vector index and gallery of one bundle, as the daemon uses them."""

    embedder: Embedder
    bundle: Bundle
    loaded: LoadedGallery
    look_alikes: frozenset[CardId] = frozenset()

    def observe(self, view: LabeledView, sibling: int | None = None, recolored: LoadedGallery | None = None) -> Iterator[Observation]:
        """Yield the comparisons of a view.

        For a view of an indexed card they are followed by those with its artwork hidden, by those with the entry ``sibling`` alone, and by
        those in ``recolored``, where the card is indexed in other colors instead.
        """
        (card,) = whole_card(view.pixels)
        views = CardViews(view.pixels, 0, card)
        images = [views.image(rotation) for rotation in card.rotations]
        embeddings = self.embedder.submit(np.concatenate([network_input for _, network_input in images])).result()

        def observation(kind: ViewKind, loaded: LoadedGallery, group: str | None = None) -> Observation:
            found = loaded.index.search(embeddings, NEIGHBORS_K)
            compared = compare_pixels(list(zip([image for image, _ in images], found, strict=True)), loaded.gallery, loaded.background)
            return Observation(kind, view.preset, compared, group, view.subject)

        if view.card_id is None:
            yield observation(view.kind, self.loaded)
            return
        yield observation(ViewKind.KNOWN, self.loaded, self.loaded.gallery.artwork_group(view.card_id))
        left_out = ViewKind.LOOK_ALIKE if view.card_id in self.look_alikes else ViewKind.LEFT_OUT
        yield observation(left_out, without_artwork(self.loaded, view.card_id))
        if sibling is not None:
            yield observation(ViewKind.LONE, replace(self.loaded, index=LoneEntryIndex(self.bundle, sibling)))
        if recolored is not None:
            yield observation(ViewKind.RECOLORED, recolored)

    def in_other_colors(self, card_id: CardId, path: Path, seed: int) -> LoadedGallery | None:
        """Return the gallery with a card recolored; None for a card with hardly any color, or a bundle without colors."""
        if stored_kind(self.bundle.gallery.signatures) == LUMA_SIGNATURE_ID:
            return None
        card = read_card(path)
        recolored = recolor(card, np.random.default_rng((seed, zlib.crc32(card_id.encode()))))
        if recolored_share(card, recolored) < _LEAST_RECOLORED:
            return None
        embedding = self.embedder.submit(to_input_batch([recolored])).result()
        return with_instead(self.loaded, self.bundle, card_id, OtherEntry(signature_of(recolored), embedding))


def observe_dataset(dataset: Dataset, bundle: BundleUnderTest) -> list[Observation]:
    """Return the observations of all views of a dataset. Shows an estimate of the time before, then progress, on standard error."""
    total = (len(dataset.scans) + len(dataset.distractors)) * len(PRESETS) * dataset.views_per_card + len(dataset.negatives)
    bundle = replace(bundle, look_alikes=dataset.look_alikes)
    siblings = lone_siblings(bundle.loaded.gallery, [card_id for card_id, _ in dataset.scans], seed=dataset.seed)
    paths = dict(dataset.scans)

    def observed(views: Iterable[LabeledView]) -> Iterator[list[Observation]]:
        for card_id, of_card in groupby(views, key=lambda view: view.card_id):
            sibling = None if card_id is None else siblings.get(card_id)
            recolored = None if card_id is None else bundle.in_other_colors(card_id, paths[card_id], dataset.seed)
            for view in of_card:
                yield list(bundle.observe(view, sibling, recolored))

    minutes = total * _seconds_per_view(observed(labeled_views(dataset))) / 60.0
    print(f"{total} views to compare, about {max(1, round(minutes))} min", file=sys.stderr)
    return [one for of_view in observed(with_progress(labeled_views(dataset), total)) for one in of_view]


def _seconds_per_view(observed: Iterator[list[Observation]]) -> float:
    """Return the time that a view takes, measured with the first views but one."""
    began_s, count = monotonic(), 0
    for number, _ in enumerate(islice(observed, _TIMED_VIEWS)):
        began_s, count = (monotonic(), 0) if number == 0 else (began_s, number)
    return (monotonic() - began_s) / max(1, count)


def with_progress(views: Iterable[LabeledView], total: int) -> Iterator[LabeledView]:
    """Yield the views; show progress on standard error, without a terminal a line at every tenth instead of a moving bar."""
    shown = 0
    for done, view in enumerate(tqdm(views, total=total, desc="calibrating", unit="view", file=sys.stderr, disable=None)):
        if not sys.stderr.isatty() and done * 10 // total > shown:
            shown = done * 10 // total
            print(f"{done} of {total} views", file=sys.stderr)
        yield view


def labeled_views(dataset: Dataset) -> Iterator[LabeledView]:
    """Yield all views to calibrate with; equal seeds give equal views."""
    indexed = [(ViewKind.KNOWN, card_id, path) for card_id, path in dataset.scans]
    others = [(ViewKind.DISTRACTOR, None, path) for path in dataset.distractors]
    for number, (kind, card_id, path) in enumerate([*indexed, *others]):
        card = read_card(path)
        for preset, view in product(PRESETS, range(dataset.views_per_card)):
            rng = np.random.default_rng((dataset.seed, number, view))
            pixels = degrade(card, PRESETS[preset], rng, _background(dataset, rng))
            yield LabeledView(pixels, kind, preset, str(path), card_id)
    for path in dataset.negatives:
        yield LabeledView(read_image(path), ViewKind.NEGATIVE, _NEGATIVE, str(path))


def _background(dataset: Dataset, rng: np.random.Generator) -> RgbImage | None:
    """Return a background; None without negatives. Draws in both cases: the ids of calibrated bundles depend on every draw."""
    choice = float(rng.random())
    return read_background(dataset.negatives[int(choice * len(dataset.negatives))]) if dataset.negatives else None


def provenance(dataset: Dataset, observations: Sequence[Observation], false_acceptance: float, measured: date) -> Provenance:
    """Return the record of what a calibration was measured with, for the manifest."""
    counts = {kind: sum(each.kind is kind for each in observations) for kind in ViewKind}
    return Provenance(
        pictures=_hash([path for _, path in dataset.scans]),
        negatives=_hash(dataset.negatives) if dataset.negatives else None,
        strangers=_hash(dataset.distractors) if dataset.distractors else None,
        cards=len(dataset.scans),
        known_views=counts[ViewKind.KNOWN],
        left_out_views=counts[ViewKind.LEFT_OUT] + counts[ViewKind.LOOK_ALIKE],
        stranger_views=counts[ViewKind.DISTRACTOR],
        negative_views=counts[ViewKind.NEGATIVE],
        presets=tuple(PRESETS),
        seed=dataset.seed,
        false_acceptance=false_acceptance,
        measured=measured,
    )


def _hash(paths: Sequence[Path]) -> str:
    """Return the SHA-256 over names and contents of files, in hexadecimal digits."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()
