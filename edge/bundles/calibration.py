"""The calibration in a bundle's manifest: thresholds, their measured performance, and the data they were measured with."""

from dataclasses import asdict, fields, is_dataclass
from datetime import date
from typing import Annotated, Any, Final, TypeAlias

from pydantic import Field, NonNegativeInt, PositiveInt, SerializerFunctionWrapHandler, field_validator, model_serializer

from edge.recognition.decision import AcceptanceThresholds, EvidenceWeights
from edge.schema import Schema

REFUSED: Final = {
    "ordinary_refused": "ordinary unknown cards",
    "look_alikes_refused": "the nearest look-alikes",
    "recolored_refused": "indexed drawings in other colors",
    "lone_refused": "cards that meet one card of their layout",
}
"""Shares among ``Calibration.figures``: views of cards that are not in the index and are not identified, by kind."""

_ADDED_WEIGHTS: Final = frozenset({"color"})
"""Weights that an older calibration does not have; 0 means the same."""

Share: TypeAlias = Annotated[float, Field(ge=0.0, le=1.0)]


class CurvePoint(Schema):
    """One point of the risk-coverage curve, measured with equal numbers of views of indexed and of unindexed cards.

    ``coverage`` is the share of views of indexed cards whose best verification is at least ``verification``; ``risk`` is the share of
    wrong names among all views for which it is.
    """

    verification: Share
    coverage: Share
    risk: Share


class Provenance(Schema):
    """The data a calibration was measured with; equal provenance and an equal bundle give equal thresholds.

    ``pictures``, ``negatives`` and ``strangers`` are hashes over the names and contents of images (null if there were none). The fields
    ``*_views`` count the queries: views of ``cards`` indexed cards, the same views with their artwork left out of the index, and images
    without an indexed card. ``measured`` is the day; it is not part of ``bundle_id``.
    """

    pictures: str
    negatives: str | None
    strangers: str | None
    cards: PositiveInt
    known_views: PositiveInt
    left_out_views: NonNegativeInt
    stranger_views: NonNegativeInt
    negative_views: NonNegativeInt
    presets: tuple[str, ...]
    seed: int
    false_acceptance: Share
    measured: date


class Calibration(Schema):
    """Thresholds measured for a bundle, and their source.

    ``source`` describes the images used in one sentence; ``figures`` holds measured values, for example ``false_accept_rate``. ``curve``
    is ordered from the strictest to the loosest threshold.
    """

    thresholds: AcceptanceThresholds
    source: str = Field(min_length=1)
    figures: dict[str, float] = Field(default_factory=dict)
    curve: tuple[CurvePoint, ...] = ()
    provenance: Provenance | None = None

    @model_serializer(mode="wrap")
    def _without_unused(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out weights that versions before them did not write, so that a manifest read from one of these keeps its id."""
        content: dict[str, Any] = dump(self)
        weights = content["thresholds"]["weights"]
        for name in _ADDED_WEIGHTS:
            if not weights[name]:
                del weights[name]
        return content

    @field_validator("thresholds", mode="before")
    @classmethod
    def _all_named(cls, value: Any) -> Any:
        """Reject missing and unknown thresholds and weights: a default would be mistaken for a measured value."""
        given = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
        _check_names("thresholds", given, AcceptanceThresholds)
        _check_names("thresholds.weights", given["weights"], EvidenceWeights, optional=_ADDED_WEIGHTS)
        return value


def _check_names(
    what: str, given: Any, kind: type[AcceptanceThresholds] | type[EvidenceWeights], *, optional: frozenset[str] = frozenset()
) -> None:
    known = {field.name for field in fields(kind)}
    if not isinstance(given, dict) or set(given) | optional != known:
        raise ValueError(f"{what} must be exactly {', '.join(sorted(known))}; calibrate the bundle again")
