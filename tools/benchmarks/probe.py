"""Run the daemon of whichever build is on the import path, and print what it did: for ``tools.benchmark --against``.

    python probe.py --config FILE --cards A,B [--picture-ms MS] [--warm-up S] [--seconds S]

Started as a file, not as a module, with PYTHONPATH naming the checkout: it imports no module of its own build, and of the measured one
only what every build has: the command ``run``, the class ``PendingSightings``, whose results are counted, and the stills of the camera,
each of which is read once. With ``--picture-ms`` an NPU stands in for the CPU: the networks take no processor time. The embedding network
answers after that time per picture, with the embedding that it really gave to the same view before, and those of the locator after
``LOCATOR_S``, with what they really gave for the same input before. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import io
import json
import os
import runpy
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from typing import Any, Final

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

INPUT_SIDE: Final = 224
MODULES: Final = ("edge.pipeline", "edge.recognition.recognizer")
"""Where ``PendingSightings`` is, in earlier builds and this one. Earlier first: an installed CardEdge adds packages to a checkout."""

LOCATOR_S: Final = 0.002
"""Time of the NPU stand-in per 256 x 256 input of the locator's networks: twice what their plan needs for the link (hef/README.md)."""
_LOCATOR_PIXELS: Final = 256 * 256 * 3

FIRST_DECISION_S: Final = 120.0
_KEY_SIDE: Final = 12
_SAME_VIEW: Final = 2.5
"""Mean difference of two small copies, in gray levels, up to which two inputs show the same view. Other cards differ by over 20."""


@dataclass
class Counts:
    """What the daemon has done so far."""

    pictures: int = 0
    network_s: float = 0.0
    cards: int = 0
    right: int = 0
    decided: threading.Event = field(default_factory=threading.Event)


def main() -> int:
    """Run the daemon until the measurement is over; return 0, or 1 if it ended or decided nothing."""
    parser = argparse.ArgumentParser(description="Run the daemon of the build on the import path and print what it did.")
    parser.add_argument("--config", required=True)
    parser.add_argument("--cards", required=True, help="ids of the cards in view, comma-separated")
    parser.add_argument("--picture-ms", type=float)
    parser.add_argument("--warm-up", type=float, default=2.0)
    parser.add_argument("--seconds", type=float, default=6.0)
    args = parser.parse_args()
    counts = Counts()
    onnxruntime.InferenceSession = _session_class(counts, None if args.picture_ms is None else args.picture_ms / 1e3)
    _count_decisions(counts, frozenset(args.cards.split(",")))
    stills: Any = importlib.import_module("edge.adapters.stills")
    stills.read_image = functools.lru_cache(maxsize=None)(stills.read_image)  # a camera need not decode
    figures: dict[str, float] = {}
    threading.Thread(target=_measure, args=(counts, args.warm_up, args.seconds, figures), daemon=True).start()
    sys.argv = ["cardedge", "run", "--config", args.config]
    with redirect_stdout(io.StringIO()):
        try:
            runpy.run_module("edge", run_name="__main__")
        except SystemExit as end:
            status = end.code
    print(json.dumps(figures))
    return 0 if figures and not status else 1


def _measure(counts: Counts, warm_up_s: float, seconds: float, figures: dict[str, float]) -> None:
    """Fill ``figures`` with what happened in ``seconds`` after the first decision and the warm-up; stop the daemon."""
    if counts.decided.wait(FIRST_DECISION_S):
        time.sleep(warm_up_s)
        before = _snapshot(counts)
        time.sleep(seconds)
        figures.update({name: value - before[name] for name, value in _snapshot(counts).items()})
    os.kill(os.getpid(), signal.SIGTERM)


def _snapshot(counts: Counts) -> dict[str, float]:
    return {
        "seconds": time.perf_counter(),
        "processor_s": time.process_time(),
        "network_s": counts.network_s,
        "pictures": counts.pictures,
        "cards": counts.cards,
        "right": counts.right,
    }


def _count_decisions(counts: Counts, shown: frozenset[str]) -> None:
    """Count every decision of the daemon, and those that identify one of the cards in view."""
    for name in MODULES:
        try:
            pending: Any = importlib.import_module(name).PendingSightings
        except ImportError:
            continue
        result = pending.result

        def counted(self: Any, timeout_s: float, result: Any = result) -> Any:
            sightings = result(self, timeout_s)
            counts.cards += len(sightings)
            counts.right += sum(_identified(sighting.decision) in shown for sighting in sightings)
            counts.decided.set()
            return sightings

        pending.result = counted
        return
    raise SystemExit(f"probe: no PendingSightings in {' or '.join(MODULES)}; is PYTHONPATH a checkout of CardEdge?")


def _identified(decision: Any) -> str | None:
    return str(decision.best.card_id) if type(decision).__name__ == "Identified" else None


def _session_class(counts: Counts, picture_s: float | None) -> type[onnxruntime.InferenceSession]:
    """Return a session that counts the pictures of the embedding network; with ``picture_s``, one that stands in for an NPU."""

    class Session(onnxruntime.InferenceSession):  # type: ignore[misc]  # the library brings no types
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self._embeds = list(self.get_inputs()[0].shape[1:]) == [INPUT_SIDE, INPUT_SIDE, 3]
            self._known = _Known(super().run)

        def run(self, output_names: Any, input_feed: Any, run_options: Any = None) -> Any:
            (batch,) = input_feed.values()
            if self._embeds:
                counts.pictures += len(batch)
            if picture_s is None:
                began_s = time.thread_time()
                answer = super().run(output_names, input_feed, run_options)
                counts.network_s += (time.thread_time() - began_s) * self._embeds
                return answer
            began_s = time.perf_counter()
            answer = self._known.embeddings(input_feed) if self._embeds else self._known.answer(output_names, input_feed)
            takes_s = len(batch) * picture_s if self._embeds else batch.size / _LOCATOR_PIXELS * LOCATOR_S
            time.sleep(max(0.0, takes_s - (time.perf_counter() - began_s)))
            return answer

    return Session


class _Known:
    """Answers of a network to the inputs that it has had; ``run`` is asked for others."""

    def __init__(self, run: Callable[[Any, Any], Any]) -> None:
        self._run = run
        self._views: list[tuple[NDArray[np.float32], Any]] = []
        self._answers: dict[bytes, Any] = {}

    def answer(self, output_names: Any, input_feed: Any) -> Any:
        """Return the answer to the same input."""
        (batch,) = input_feed.values()
        key = batch.tobytes()
        if key not in self._answers:
            self._answers[key] = self._run(output_names, input_feed)
        return self._answers[key]

    def embeddings(self, input_feed: Any) -> Any:
        """Return for each row the embedding of the same view."""
        ((name, batch),) = input_feed.items()
        return [np.concatenate([self._embedding(name, row) for row in batch])]

    def _embedding(self, name: str, row: NDArray[np.uint8]) -> Any:
        key = cv2.resize(row, (_KEY_SIDE, _KEY_SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
        for known, answer in self._views:
            if np.abs(known - key).mean() < _SAME_VIEW:
                return answer
        (answer,) = self._run(None, {name: row[np.newaxis]})
        self._views.append((key, answer))
        return answer


if __name__ == "__main__":
    raise SystemExit(main())
