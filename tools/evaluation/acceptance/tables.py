"""The measured values as text and as plain records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict

from tools.evaluation.acceptance.figures import WANTED_PRECISION, Criterion, Interval, Share, ViewFigures
from tools.evaluation.acceptance.measurement import Acceptance
from tools.evaluation.acceptance.plan import System
from tools.evaluation.acceptance.tracks import TrackFigures
from tools.evaluation.queries import Dataset
from tools.reports.markdown import table

CRITERIA_HEAD = ("", "criterion", "value", "bound", "holds", "n", "95 % interval", "note")
VIEWS_HEAD = (
    "view",
    "n",
    "embedding alone: top-1 / accept",
    "with verification: top-1 / accept",
    "goal",
    "holds",
    "named",
    "wrongly",
    "refused when not indexed",
)
STAGES_HEAD = (
    "view",
    "embedding alone",
    "+ verification",
    "single pictures: named",
    "+ time: tracks named",
    "wrong names: pictures",
    "wrong names: tracks",
)


def criteria_cells(row: Criterion) -> tuple[str, ...]:
    """Return the cells of one row of the acceptance table."""
    return (
        row.key,
        row.what,
        value_text(row.value, row),
        bound_text(row),
        holds_text(row.passed),
        str(row.n),
        interval_text(row),
        row.note,
    )


def view_cells(row: ViewFigures) -> tuple[str, ...]:
    """Return the cells of one row of the table of views."""
    goal = f"≥ {_number(100 * row.goals[0])} / ≥ {_number(100 * row.goals[1])}"
    return (
        row.preset,
        str(row.raw_top1.n),
        f"{_percent(row.raw_top1)} / {_percent(row.raw_accepted)}",
        f"{100 * row.verified_top1.value:.2f} / {100 * row.verified_accepted.value:.2f} {_interval(row.verified_accepted)}",
        goal,
        holds_text(row.passed),
        _with_interval(row.named),
        _percent(row.named_wrong),
        _percent(Share(row.absent_named.n - row.absent_named.hits, row.absent_named.n)),
    )


def stage_cells(view: ViewFigures, tracks: TrackFigures | None) -> tuple[str, ...]:
    """Return the cells of one row of the table of stages; the last four belong to the frames and tracks of the same preset."""
    head = (view.preset, _with_interval(view.raw_accepted), _with_interval(view.verified_accepted))
    if tracks is None:
        return (*head, "-", "-", "-", "-")
    frames, whole = tracks.frames, tracks.tracks
    return (
        *head,
        _with_interval(Share(frames.right, frames.asked)),
        _with_interval(Share(whole.right, whole.asked)),
        f"{frames.wrong + frames.absent_named} of {2 * frames.asked}",
        f"{whole.wrong + whole.absent_named} of {2 * whole.asked}",
    )


def stage_rows(acceptance: Acceptance) -> list[tuple[str, ...]]:
    """Return the table of stages."""
    tracks = {figures.preset: figures for figures in acceptance.tracks}
    return [stage_cells(view, tracks.get(view.preset)) for view in acceptance.views]


def heading(system: System, dataset: Dataset) -> str:
    """Return a line that states what was measured, and with what."""
    manifest = system.bundle.manifest
    calibrated = manifest.calibration.source if manifest.calibration else "not calibrated, the defaults hold"
    return (
        f"network {system.model.manifest.name} ({system.model.model_id}; {system.model.manifest.training.note})\n"
        f"bundle {manifest.name} ({manifest.bundle_id}; {manifest.cards} cards; thresholds: {calibrated})\n"
        f"{len(dataset.scans)} cards asked for, {dataset.views_per_card} views of each, seed {dataset.seed}; "
        f"{len(dataset.negatives)} pictures without a card"
    )


def as_text(acceptance: Acceptance) -> str:
    """Return all tables as Markdown."""
    parts = [
        "## Acceptance\n",
        table(CRITERIA_HEAD, [criteria_cells(row) for row in acceptance.criteria]),
        "\n## Views\n",
        table(VIEWS_HEAD, [view_cells(row) for row in acceptance.views]),
        "\n## What each stage adds\n",
        table(STAGES_HEAD, stage_rows(acceptance)),
        f"\n{coverage_text(acceptance)}\n\nMeasured in {acceptance.seconds / 60.0:.1f} minutes.",
    ]
    return "\n".join(parts)


def coverage_text(acceptance: Acceptance) -> str:
    """Return the coverage at the wanted precision, and the operating point."""
    curve = acceptance.curve
    coverage, risk = curve.at_bound
    return (
        f"Coverage at {100 * WANTED_PRECISION:g} % precision: {100 * curve.coverage_at_precision:.1f} % "
        f"(of {curve.n} pictures, those of indexed cards); the bundle's bound names {100 * coverage:.1f} % with {100 * risk:.2f} % wrong."
    )


def as_records(acceptance: Acceptance) -> Iterator[Mapping[str, object]]:
    """Yield every row as plain values for JSON; ``table`` is the table it belongs to."""
    for row in acceptance.criteria:
        yield {"table": "acceptance", **asdict(row), "passed": row.passed}
    for view in acceptance.views:
        shares = {name: _share_record(getattr(view, name)) for name in ViewFigures.__slots__ if name != "preset"}
        yield {"table": "views", "view": view.preset, "goals": list(view.goals), "passed": view.passed, **shares}
    for tracks in acceptance.tracks:
        yield {"table": "tracks", **asdict(tracks)}
    curve = acceptance.curve
    yield {
        "table": "risk_coverage",
        "precision": WANTED_PRECISION,
        "coverage": curve.coverage_at_precision,
        "at_bound": {"coverage": curve.at_bound[0], "risk": curve.at_bound[1]},
        "n": curve.n,
        "seconds": round(acceptance.seconds, 1),
    }


def value_text(value: float | None, row: Criterion) -> str:
    """Return a value in its unit; n/a where nothing was measured."""
    if value is None:
        return "n/a"
    return {"share": f"{100 * value:.2f} %", "cosine": f"{value:.3f}", "ms": f"{value:.1f} ms", "points": f"{value:.2f} points"}[row.unit]


def bound_text(row: Criterion) -> str:
    """Return the bound with its direction."""
    if row.bound is None:
        return ""
    number = f"{_number(100 * row.bound)} %" if row.unit == "share" else f"{row.bound:g}"
    return f"{'≥' if row.at_least else '≤'} {number}"


def holds_text(passed: bool | None) -> str:
    """Return pass or FAIL; empty without a bound."""
    return "" if passed is None else "pass" if passed else "FAIL"


def interval_text(row: Criterion) -> str:
    """Return the interval in the unit of the value."""
    if row.interval is None:
        return ""
    low, high = row.interval
    if row.unit == "share":
        return f"{100 * low:.1f} to {100 * high:.1f}"
    return f"{low:.3f} to {high:.3f}" if row.unit == "cosine" else f"{low:.2f} to {high:.2f}"


def _percent(share: Share) -> str:
    return f"{100 * share.value:.1f}"


def _with_interval(share: Share) -> str:
    return f"{_percent(share)} {_interval(share)}"


def _interval(share: Share) -> str:
    low, high = share.interval
    return f"({100 * low:.1f} to {100 * high:.1f})"


def _number(value: float) -> str:
    return f"{value:.4g}"


def _share_record(share: Share) -> dict[str, object]:
    low, high = share.interval
    bounds: Interval = (low, high)
    return {"value": share.value, "hits": share.hits, "n": share.n, "interval_95": list(bounds)}
