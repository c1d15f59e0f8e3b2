"""Images of failures: collected while measuring, a few of each kind selected at the end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice, zip_longest
from typing import Final

import cv2
import numpy as np

from edge.bundles.card_database import REFERENCE_HEIGHT, REFERENCE_WIDTH
from edge.recognition.decision import Candidate, Decision, Identified, acceptance_score
from edge.recognition.gallery import Gallery
from edge.recognition.neighbors import CardId
from edge.vision.frame import RgbImage
from tools.evaluation.acceptance.answers import status_of
from tools.evaluation.queries import Query

KINDS: Final = {
    "wrong": "Named, but as another card",
    "unindexed": "Named, though it is not in the index",
    "refused": "Not named, though it is in the index",
}
"""The ways to fail, worst first."""

KEPT_PER_KIND: Final = 12
_CANDIDATES: Final = 3
_JPEG_QUALITY: Final = 85


@dataclass(frozen=True, slots=True, eq=False)
class Failure:
    """One image with a wrong answer. ``shown`` is the card it shows (None: no indexed card); ``image`` a JPEG."""

    kind: str
    view: str
    shown: CardId | None
    status: str
    reason: str
    score: float
    candidates: tuple[Candidate, ...]
    image: bytes


class FailureGallery:
    """Collects the failures of a measurement; the measurement sets ``view`` to the name of the view it begins."""

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery
        self._failures: list[Failure] = []
        self.view = ""

    def add(self, query: Query, decision: Decision, indexed: bool) -> None:
        """Keep the image if its answer is wrong; ``indexed``: its card was in the searched index."""
        kind = self._kind(query, decision, indexed)
        if kind is None:
            return
        reason = "" if isinstance(decision, Identified) else str(decision.reason)
        failure = Failure(
            kind,
            self.view,
            query.card_id,
            status_of(decision),
            reason,
            acceptance_score(decision),
            decision.candidates[:_CANDIDATES],
            _jpeg(query.pixels),
        )
        self._failures.append(failure)

    def typical(self) -> dict[str, list[Failure]]:
        """Return failures by kind: of each view in turn, the most certain wrong cards first, rejected ones from the middle of scores."""
        return {kind: list(self._of_each_view(kind)) for kind in KINDS if any(failure.kind == kind for failure in self._failures)}

    def count(self, kind: str) -> int:
        """Return how many there were of a kind."""
        return sum(failure.kind == kind for failure in self._failures)

    def _kind(self, query: Query, decision: Decision, indexed: bool) -> str | None:
        named = decision.best if isinstance(decision, Identified) else None
        if not indexed or query.card_id is None:
            return "unindexed" if named else None
        if named is None:
            return "refused"
        return None if named.artwork_group == self._gallery.artwork_group(query.card_id) else "wrong"

    def _of_each_view(self, kind: str) -> Iterable[Failure]:
        by_view: dict[str, list[Failure]] = {}
        for failure in self._failures:
            if failure.kind == kind:
                by_view.setdefault(failure.view, []).append(failure)
        for view, failures in by_view.items():
            failures.sort(key=lambda failure: -failure.score)
            if kind == "refused":  # the middle is what usually happens; the ends are curiosities
                middle = len(failures) // 2
                by_view[view] = failures[middle:] + failures[:middle]
        in_turn = (failure for round_ in zip_longest(*by_view.values()) for failure in round_ if failure is not None)
        return islice(in_turn, KEPT_PER_KIND)


def _jpeg(pixels: RgbImage) -> bytes:
    """Encode at the size of the reference images; other shapes are squeezed as for the model."""
    small = cv2.resize(pixels, (REFERENCE_WIDTH, REFERENCE_HEIGHT), interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(np.asarray(small, dtype=np.uint8), cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes())
