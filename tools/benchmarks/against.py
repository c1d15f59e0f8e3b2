"""Rows of ``tools.benchmark --against``: this build against another checkout, measured in turn on this machine."""

from __future__ import annotations

import json
import sqlite3
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from edge.vision.frame import RgbImage
from edge.vision.image_file import read_image
from tools.benchmarks.builds import Build, BuildPair, Figures
from tools.benchmarks.rows import Measurement
from tools.bundle_build.card_list import read_card_list
from tools.simulation.camera import PRESETS, CardPose, photograph

PICTURE_MS: Final = 15.0
"""Time of the NPU stand-in per picture."""

THROUGHPUT_FPS: Final = 80.0
"""More than either build can work on."""
SHOWN_S: Final = 1.2
LATENCY_CARDS: Final = 8
_MOVES_PX: Final = (0.0, 6.0, 12.0, 18.0, 12.0, 6.0)
"""A card that moves: no frame is like the one before, and the outlines still belong to one card."""
_POSES: Final = {1: (630.0,), 4: (190.0, 490.0, 790.0, 1090.0)}
_HEIGHT: Final = {1: 4.0, 4: 2.9}
_FRAME: Final = (720, 1280)
_NOISE: Final = 2.0
"""Standard deviation of the camera's noise, in gray levels."""
_EVERY_FRAME: Final = "[track]\nevidence_interval_s = 0\nretry_s = 0\nrecheck_s = 0\n"


@dataclass(frozen=True, slots=True)
class Scene:
    """A folder of stills that the camera shows in turn, and the ids of the cards on them."""

    folder: Path
    cards: tuple[str, ...]

    def camera(self, fps: float, seconds_per_still: float) -> str:
        """Return the settings of a camera that shows the stills again and again."""
        shown = f"fps = {fps}\nseconds_per_still = {seconds_per_still}\nloop = true\n"
        return f'[camera]\nkind = "stills"\nsource = "{self.folder}"\n{shown}'


def throughput(pair: BuildPair) -> Iterator[Measurement]:
    """Compare the cards per second from frame to event, with the network on the CPU and with an NPU of 15 ms per picture."""
    for backend, bound, options in (("CPU", 3.0, ()), ("NPU 15 ms", 1.9, ("--picture-ms", str(PICTURE_MS)))):
        for count in (1, 4):
            ours, theirs = _working_at_full_rate(pair, moving_cards(pair, count), options)
            ratios = [_per_s(mine) / _per_s(other) for mine, other in zip(ours, theirs, strict=True)]
            detail = f"{_rates(ours)} against {_rates(theirs)} cards/s; {_named(ours)} against {_named(theirs)}; {_spread(ratios)}"
            yield Measurement(f"cards/s, {count} in view, {backend}", statistics.median(ratios), "times", bound, "higher", detail)


def _working_at_full_rate(pair: BuildPair, scene: Scene, options: Sequence[str]) -> tuple[list[Figures], list[Figures]]:
    settings = _EVERY_FRAME + scene.camera(THROUGHPUT_FPS, 1 / THROUGHPUT_FPS)
    return pair.in_turn(lambda build: build.probe(settings, scene.cards, *options))


def host(pair: BuildPair) -> Iterator[Measurement]:
    """Compare the processor time outside the network: per card that moves, and per frame of a still scene."""
    scene = moving_cards(pair, 1)
    moving, still = _EVERY_FRAME + scene.camera(10.0, 0.1), still_card(pair)
    npu = ("--picture-ms", str(PICTURE_MS))
    ours, theirs = pair.in_turn(lambda build: build.probe(moving, scene.cards, *npu))
    yield _shares("processor time per card outside the network", ours, theirs, "cards", 1 / 3)
    settings = still.camera(15.0, 1 / 15.0)
    ours, theirs = pair.in_turn(lambda build: _with_frames(build.probe(settings, still.cards, *npu, "--warm-up", "4", "--seconds", "15")))
    yield _shares("processor time per still frame", ours, theirs, "frames", 1 / 8)


def latency(pair: BuildPair) -> Iterator[Measurement]:
    """Compare the 95th percentile of the time from capture to event, one card at a time, network on the CPU."""
    scene = coming_and_going(pair)
    settings = scene.camera(15.0, SHOWN_S)
    seconds = str(2 * LATENCY_CARDS * SHOWN_S * 1.5)

    def measure(build: Build) -> Figures:
        build.probe(settings, scene.cards, "--seconds", seconds)
        return latencies(build.folder / "outbox.sqlite", scene.cards)

    ours, theirs = pair.in_turn(measure)
    ratios = [mine["p95_ms"] / other["p95_ms"] for mine, other in zip(ours, theirs, strict=True)]
    detail = f"{_milliseconds(ours)} against {_milliseconds(theirs)}; {_spread(ratios)}"
    yield Measurement("latency p95, capture to event, 1 card", statistics.median(ratios), "times", 0.5, "lower", detail)


AGAINST: Final[dict[str, Callable[[BuildPair], Iterator[Measurement]]]] = {"throughput": throughput, "host": host, "latency": latency}


# --- what the camera sees ---


def moving_cards(pair: BuildPair, count: int) -> Scene:
    """Photograph ``count`` cards in several places a few pixels apart."""
    cards = _drawn(pair, count)
    scenes = [[(card, x + move) for (_, card), x in zip(cards, _POSES[count], strict=True)] for move in _MOVES_PX]
    return _write(pair, f"moving-{count}", cards, [_photo(scene, _HEIGHT[count]) for scene in scenes])


def still_card(pair: BuildPair) -> Scene:
    """Photograph one card several times; only the noise of the camera differs."""
    cards = _drawn(pair, 1)
    photo, noise = _photo([(cards[0][1], _POSES[1][0])], _HEIGHT[1]), np.random.default_rng(5)
    photos = [np.clip(photo + noise.normal(0.0, _NOISE, photo.shape), 0, 255).astype(np.uint8) for _ in range(4)]
    return _write(pair, "still", cards, photos)


def coming_and_going(pair: BuildPair) -> Scene:
    """Photograph cards one after the other, with the empty table between them."""
    cards = _drawn(pair, LATENCY_CARDS)
    shown = [_photo([(card, _POSES[1][0])], _HEIGHT[1]) for _, card in cards]
    empty = _photo([], _HEIGHT[1])
    return _write(pair, "coming", cards, [photo for one in shown for photo in (one, empty)])


def _drawn(pair: BuildPair, count: int) -> list[tuple[str, RgbImage]]:
    rows = read_card_list(pair.images / "cards.csv").rows[:count]
    return [(str(row.card.card_id), read_image(pair.images / row.image)) for row in rows]


def _photo(cards: Sequence[tuple[RgbImage, float]], pixels_per_mm: float, seed: int = 1) -> RgbImage:
    table = np.full((*_FRAME, 3), (96, 84, 70), np.uint8)
    poses = [(card, CardPose(x, 360.0, pixels_per_mm, roll_deg=6.0, tilt_deg=8.0)) for card, x in cards]
    return photograph(poses, table, PRESETS["clean"], np.random.default_rng(seed))[0]


def _write(pair: BuildPair, name: str, cards: Sequence[tuple[str, RgbImage]], photos: Sequence[RgbImage]) -> Scene:
    folder = pair.folder / name
    folder.mkdir(exist_ok=True)
    for number, photo in enumerate(photos):
        cv2.imwrite(str(folder / f"{number:02d}.bmp"), cv2.cvtColor(photo, cv2.COLOR_RGB2BGR))
    return Scene(folder, tuple(card_id for card_id, _ in cards))


# --- what came of it ---


def latencies(outbox: Path, shown: Sequence[str]) -> Figures:
    """Return the 95th percentile of the latency of identified events in milliseconds, and how many of them name a card that was shown.

    The first event is left out: the daemon was starting.
    """
    with sqlite3.connect(f"file:{outbox}?mode=ro", uri=True) as database:
        events = [json.loads(payload) for (payload,) in database.execute("SELECT payload FROM waiting ORDER BY row_id")]
    database.close()
    identified = [event for event in events if event["type"] == "identified"][1:]
    took_ms = [event["timing_ms"]["capture_to_event"] for event in identified]
    right = sum(event["card_id"] in shown for event in identified)
    return {"p95_ms": float(np.percentile(took_ms, 95)), "p50_ms": float(np.median(took_ms)), "events": len(took_ms), "right": right}


def _with_frames(figures: Figures) -> Figures:
    return {**figures, "frames": figures["seconds"] * 15.0}


def _shares(name: str, ours: Sequence[Figures], theirs: Sequence[Figures], per: str, bound: float) -> Measurement:
    """Compare the processor time per card or per frame; the stand-in takes none, so all of it is outside the networks."""
    mine, other = ([figures["processor_s"] / max(figures[per], 1) * 1e3 for figures in side] for side in (ours, theirs))
    ratios = [one / two for one, two in zip(mine, other, strict=True)]
    detail = f"{statistics.median(mine):.2f} against {statistics.median(other):.2f} ms; {_named(ours)} against {_named(theirs)}"
    return Measurement(name, statistics.median(ratios), "times", bound, "lower", f"{detail}; {_spread(ratios)}")


def _per_s(figures: Figures) -> float:
    return figures["cards"] / figures["seconds"]


def _rates(side: Sequence[Figures]) -> str:
    per_card = statistics.median(figures["processor_s"] / max(figures["cards"], 1) for figures in side)
    return f"{statistics.median(map(_per_s, side)):.1f} ({per_card * 1e3:.0f} ms of processor time each)"


def _named(side: Sequence[Figures]) -> str:
    return f"{sum(figures['right'] for figures in side):.0f} of {sum(figures['cards'] for figures in side):.0f} right"


def _milliseconds(side: Sequence[Figures]) -> str:
    right, events = (sum(figures[name] for figures in side) for name in ("right", "events"))
    p95, p50 = (statistics.median(figures[name] for figures in side) for name in ("p95_ms", "p50_ms"))
    return f"{p95:.0f} ms (p50 {p50:.0f}; {right:.0f} of {events:.0f} events right)"


def _spread(ratios: Sequence[float]) -> str:
    return f"rounds {min(ratios):.3f} to {max(ratios):.3f}"
