"""The gain from several frames: the tracker's result for several views of one card, compared with each view alone.

The frames of a track share what a scene shares: light, lens, colors, background, how much is covered. Corners, noise, motion, and where
glare and fingers lie are drawn again for each frame, as a hand-held card has them. A card that lies perfectly still gains less.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from edge.recognition.decision import Decision, Identified
from edge.recognition.neighbors import CardId
from edge.tracking.tracker import ChangeKind, Tracker, TrackId
from edge.vision.card import LocatedCard, Point, Quad
from edge.vision.locate import BOTH_WAYS
from tools.evaluation.acceptance.answers import ViewEvaluator
from tools.evaluation.queries import Dataset, Query
from tools.simulation.camera import PRESETS, ViewSettings, degrade
from tools.simulation.card_images import read_card

FRAMES: Final = 8
FRAME_NS: Final = 200_000_000
TRACK_PRESETS: Final = ("camera-8", "hard-light-glare-6", "occluded-35")
"""The presets with which single images fare worst."""

_QUAD: Final = Quad(Point(100.0, 100.0), Point(352.0, 100.0), Point(352.0, 452.0), Point(100.0, 452.0))


@dataclass(frozen=True, slots=True)
class NameCounts:
    """How often a card, and a wrong card, was identified in images or tracks of indexed cards (``named``: correctly) or of others."""

    asked: int
    right: int
    wrong: int
    absent_named: int


@dataclass(frozen=True, slots=True)
class TrackFigures:
    """One preset: the single frames and the tracks made of them."""

    preset: str
    frames: NameCounts
    tracks: NameCounts


def measure_tracks(dataset: Dataset, preset: str, evaluator: ViewEvaluator) -> TrackFigures:
    """Simulate one track per card and compare the decisions of its single frames with the result of the tracker."""
    frames, tracks = NameCounts(0, 0, 0, 0), NameCounts(0, 0, 0, 0)
    gallery = evaluator.loaded.gallery
    for number, (card_id, _) in enumerate(dataset.scans):
        group = gallery.artwork_group(card_id)
        present, absent = [], []
        for _, _, with_card, without in evaluator.decisions(track_views(dataset, preset, number)):
            present.append(with_card)
            absent.append(without)
        evaluator.embedder.forget()
        for one, other in zip(present, absent, strict=True):
            frames = _add(frames, _group_named(one), _group_named(other), group)
        tracks = _add(tracks, _group_named(last_decision(present)), _group_named(last_decision(absent)), group)
    return TrackFigures(preset, frames, tracks)


def track_views(dataset: Dataset, preset: str, number: int) -> Iterator[Query]:
    """Yield the frames of the track of scan ``number``; equal seeds give equal frames."""
    card_id, path = dataset.scans[number]
    rng = np.random.default_rng((dataset.seed, number, 2000))
    settings, background, card = one_scene(PRESETS[preset], rng), dataset.background(rng), read_card(path)
    for _ in range(FRAMES):
        yield Query(degrade(card, settings, rng, background), CardId(card_id))


def one_scene(settings: ViewSettings, rng: np.random.Generator) -> ViewSettings:
    """Draw the properties that the frames of one scene share."""

    def once(low_high: tuple[float, float]) -> tuple[float, float]:
        value = float(rng.uniform(*low_high))
        return value, value

    spots = int(rng.integers(settings.glare[0], settings.glare[1] + 1))
    quality = int(rng.integers(settings.jpeg_quality[0], settings.jpeg_quality[1] + 1))
    return replace(
        settings,
        seen_width_px=once(settings.seen_width_px),
        focus_sigma_px=once(settings.focus_sigma_px),
        glare=(spots, spots),
        glare_level=once(settings.glare_level),
        light=once(settings.light),
        gamma=once(settings.gamma),
        contrast=once(settings.contrast),
        brightness=once(settings.brightness),
        noise_sigma=once(settings.noise_sigma),
        jpeg_quality=(quality, quality),
        occluded=once(settings.occluded),
        foil=float(rng.random() < settings.foil),
        sleeve=float(rng.random() < settings.sleeve),
    )


def last_decision(decisions: Sequence[Decision]) -> Decision | None:
    """Return the last claim of the tracker about a card at rest with these decisions; None if it publishes nothing."""
    tracker = Tracker(lambda: TrackId("one"))
    last: Decision | None = None
    for number, decision in enumerate(decisions):
        at_ns = (number + 1) * FRAME_NS
        observed = tracker.observe((LocatedCard(_QUAD, BOTH_WAYS, sharpness=1.0),), at_ns)
        changes = observed.changes
        for request in observed.requests:
            changes += tracker.conclude(request.track_id, decision, _QUAD, at_ns)
        last = next((change.decision for change in reversed(changes) if change.kind is not ChangeKind.REMOVED), last)
    return last


def _group_named(decision: Decision | None) -> str | None:
    return decision.best.artwork_group if isinstance(decision, Identified) else None


def _add(counts: NameCounts, present: str | None, absent: str | None, group: str) -> NameCounts:
    return NameCounts(
        counts.asked + 1,
        counts.right + int(present == group),
        counts.wrong + int(present not in {None, group}),
        counts.absent_named + int(absent is not None),
    )
