"""What a model's folder knows beside the network: how layouts look at large, and thresholds for bundles that were never calibrated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

import numpy as np
from pydantic import Field

from edge.recognition.decision import AcceptanceThresholds
from edge.recognition.patches import FEATURES, PLACES, Background
from edge.schema import Schema

EVIDENCE_FILE: Final = "evidence.json"
_PLACE_COUNT: Final = int(PLACES.max()) + 1


class ModelEvidence(Schema):
    """Content of ``evidence.json``, written by ``tools.model_evidence``.

    ``places`` and ``slopes`` are the coefficients of ``Background``. ``thresholds`` are measured with this network and are used by bundles
    without a calibration. ``source`` describes the images used in one sentence; ``figures`` holds measured values.
    """

    format_version: Literal[1] = 1
    places: tuple[float, ...] = Field(min_length=_PLACE_COUNT, max_length=_PLACE_COUNT)
    slopes: tuple[float, ...] = Field(min_length=FEATURES, max_length=FEATURES)
    thresholds: AcceptanceThresholds
    source: Annotated[str, Field(min_length=1)]
    figures: Mapping[str, float] = Field(default_factory=dict)

    @property
    def background(self) -> Background:
        """The knowledge about layouts, for ``compare_pixels``."""
        return Background(np.array(self.places, dtype=np.float32), np.array(self.slopes, dtype=np.float32))
