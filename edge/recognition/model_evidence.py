"""What a model's folder knows beside the network: how layouts look at large, and thresholds for bundles that were never calibrated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

import numpy as np
from pydantic import Field

from edge.recognition.decision import AcceptanceThresholds
from edge.recognition.patches import FEATURES, PLACES, Background
from edge.recognition.verification import LUMA_SIGNATURE_ID
from edge.schema import Schema

EVIDENCE_FILE: Final = "evidence.json"
_PLACE_COUNT: Final = int(PLACES.max()) + 1


class ModelEvidence(Schema):
    """Content of ``evidence.json``, written by ``tools.model_evidence``.

    ``places`` and ``slopes`` are the coefficients of ``Background``. ``thresholds`` are measured with this network and are used by bundles
    without a calibration; ``luma_thresholds`` by those of earlier versions, whose signatures have no color. ``source`` describes the
    images used in one sentence; ``figures`` holds measured values.
    """

    format_version: Literal[1] = 1
    places: tuple[float, ...] = Field(min_length=_PLACE_COUNT, max_length=_PLACE_COUNT)
    slopes: tuple[float, ...] = Field(min_length=FEATURES, max_length=FEATURES)
    thresholds: AcceptanceThresholds
    luma_thresholds: AcceptanceThresholds | None = None
    source: Annotated[str, Field(min_length=1)]
    figures: Mapping[str, float] = Field(default_factory=dict)

    def thresholds_for(self, signature: str | None) -> AcceptanceThresholds:
        """Return the thresholds for a bundle with signatures of this id that was never calibrated."""
        without_color = signature == LUMA_SIGNATURE_ID
        return self.luma_thresholds if without_color and self.luma_thresholds is not None else self.thresholds

    @property
    def background(self) -> Background:
        """The knowledge about layouts, for ``compare_pixels``."""
        return Background(np.array(self.places, dtype=np.float32), np.array(self.slopes, dtype=np.float32))
