"""What a calibration leaves in a bundle's manifest: the decision's thresholds, how well they do, and what they were measured with."""

from dataclasses import asdict, fields, is_dataclass
from datetime import date
from typing import Annotated, Any, TypeAlias

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator

from edge.recognition.decision import AcceptanceThresholds, EvidenceWeights
from edge.schema import Schema

Share: TypeAlias = Annotated[float, Field(ge=0.0, le=1.0)]


class CurvePoint(Schema):
    """One point of the risk-coverage curve.

    Of as many views of indexed cards as of unindexed ones, ``coverage`` is the share of the first whose best verification reaches
    ``verification``, and ``risk`` the share of wrong names among all that reach it.
    """

    verification: Share
    coverage: Share
    risk: Share


class Provenance(Schema):
    """What a calibration was measured with; equal provenance on an equal bundle gives equal thresholds.

    ``pictures``, ``negatives`` and ``strangers`` are hashes over names and contents (null without any). ``views`` counts per question:
    views of ``cards`` indexed cards, each asked again with its artwork left out, and pictures that no index should know.
    ``measured`` is the day; it does not count towards ``bundle_id``.
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
    """Thresholds measured for this bundle, and where they come from.

    ``source`` says in a sentence which pictures and negatives were used; ``figures`` holds what was measured with them
    (for example ``false_accept_rate``). ``curve`` runs from the most to the least cautious bound.
    """

    thresholds: AcceptanceThresholds
    source: str = Field(min_length=1)
    figures: dict[str, float] = Field(default_factory=dict)
    curve: tuple[CurvePoint, ...] = ()
    provenance: Provenance | None = None

    @field_validator("thresholds", mode="before")
    @classmethod
    def _all_named(cls, value: Any) -> Any:
        """Refuse missing and unknown thresholds and weights: a default would pass for a measurement."""
        given = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
        _check_names("thresholds", given, AcceptanceThresholds)
        _check_names("thresholds.weights", given["weights"], EvidenceWeights)
        return value


def _check_names(what: str, given: Any, kind: type[AcceptanceThresholds] | type[EvidenceWeights]) -> None:
    known = {field.name for field in fields(kind)}
    if not isinstance(given, dict) or set(given) != known:
        raise ValueError(f"{what} must be exactly {', '.join(sorted(known))}; calibrate the bundle again")
