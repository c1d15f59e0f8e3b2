"""Charts of the report, as inline SVG without libraries or scripts; colors are CSS variables of the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tools.evaluation.acceptance.figures import WANTED_PRECISION, RiskCoverage, ViewFigures

WIDTH: Final = 720
HEIGHT: Final = 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 20, 18, 46
_MAX_POINTS: Final = 400
_ROW: Final = 44
_LABEL: Final = 160

_Place: TypeAlias = Callable[[float, float], tuple[float, float]]


def risk_coverage_chart(curve: RiskCoverage) -> str:
    """Draw risk over coverage, with the wanted precision as a line and the bundle's own bound as a dot."""
    coverage, risk = thin_out(curve.coverage, curve.risk)
    top = max(0.03, 1.3 * curve.at_bound[1], 2.0 * (1.0 - WANTED_PRECISION))
    x_low = _round_down(float(min(curve.coverage_at_precision, curve.at_bound[0], 0.9)) - 0.1)

    def place(share: float, wrong: float) -> tuple[float, float]:
        along = (share - x_low) / (1.0 - x_low)
        return _LEFT + along * (WIDTH - _LEFT - _RIGHT), HEIGHT - _BOTTOM - min(1.0, wrong / top) * (HEIGHT - _TOP - _BOTTOM)

    inside = coverage >= x_low
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(c, r) for c, r in zip(coverage[inside], risk[inside], strict=True)))
    line_y = place(x_low, 1.0 - WANTED_PRECISION)[1]
    dot_x, dot_y = place(*curve.at_bound)
    cut_x = place(max(x_low, curve.coverage_at_precision), 0.0)[0]
    parts = [
        *_grid_x(x_low, place),
        *_grid_y(top, place, x_low),
        f'<line class="goal" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{line_y:.1f}" y2="{line_y:.1f}"/>',
        f'<text class="goal-text" x="{_LEFT + 6}" y="{line_y - 6:.1f}">{100 * WANTED_PRECISION:g} % precision</text>',
        f'<line class="cut" x1="{cut_x:.1f}" x2="{cut_x:.1f}" y1="{line_y:.1f}" y2="{HEIGHT - _BOTTOM}"/>',
        f'<polyline class="curve" points="{points}"/>',
        f'<circle class="dot" cx="{dot_x:.1f}" cy="{dot_y:.1f}" r="5"><title>the bundle\'s bound</title></circle>',
        f'<text class="axis" x="{(WIDTH + _LEFT) / 2}" y="{HEIGHT - 8}">share of true cards named rightly (coverage), %</text>',
        f'<text class="axis" transform="translate(16,{HEIGHT / 2 - 12}) rotate(-90)">names that are wrong (risk), %</text>',
    ]
    return _svg(HEIGHT, parts, "Risk-coverage curve")


def stage_chart(views: Sequence[ViewFigures]) -> str:
    """Draw per view what is accepted by the embedding alone and with verification, with intervals and the goal."""
    height = _ROW * len(views) + 40
    left, right = _LABEL, WIDTH - 54
    low = _round_down(
        min([0.9, *(view.raw_accepted.interval[0] for view in views), *(view.verified_accepted.interval[0] for view in views)])
    )

    def along(share: float) -> float:
        return left + (max(share, low) - low) / (1.0 - low) * (right - left)

    parts = []
    for tick in np.linspace(low, 1.0, 6):
        x = along(float(tick))
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="8" y2="{height - 30}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{height - 12}">{100 * tick:.0f}</text>')
    for number, view in enumerate(views):
        y = 12 + _ROW * number
        parts.append(f'<text class="label" x="{left - 12}" y="{y + 20}">{escape(view.preset)}</text>')
        for offset, shape, counted in ((4, "raw", view.raw_accepted), (19, "verified", view.verified_accepted)):
            end, (below, above) = along(counted.value), counted.interval
            parts.append(f'<rect class="{shape}" x="{left}" y="{y + offset}" width="{max(1.0, end - left):.1f}" height="11" rx="2"/>')
            parts.append(
                f'<line class="whisker" x1="{along(below):.1f}" x2="{along(above):.1f}" y1="{y + offset + 5.5}" y2="{y + offset + 5.5}"/>'
            )
            parts.append(f'<text class="value" x="{right + 8}" y="{y + offset + 10}">{100 * counted.value:.1f}</text>')
        goal = along(view.goals[1])
        parts.append(f'<line class="goal" x1="{goal:.1f}" x2="{goal:.1f}" y1="{y + 1}" y2="{y + 33}"/>')
    return _svg(height, parts, "Accepted at 1 % false acceptance, per view")


def thin_out(
    first: NDArray[np.float64], second: NDArray[np.float64], most: int = _MAX_POINTS
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return at most ``most`` of the points, including both ends."""
    chosen = np.unique(np.linspace(0, len(first) - 1, min(most, len(first))).astype(int))
    return first[chosen], second[chosen]


def _grid_x(low: float, place: _Place) -> list[str]:
    parts = []
    for tick in np.linspace(low, 1.0, 6):
        x, y = place(float(tick), 0.0)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{y + 16:.1f}">{100 * tick:.0f}</text>')
    return parts


def _grid_y(top: float, place: _Place, low: float) -> list[str]:
    parts = []
    for tick in np.linspace(0.0, top, 5):
        x, y = place(low, float(tick))
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick end" x="{x - 6:.1f}" y="{y + 4:.1f}">{100 * tick:.2g}</text>')
    return parts


def _svg(height: int, parts: Sequence[str], title: str) -> str:
    inner = "\n".join(parts)
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">\n{inner}\n</svg>'


def _round_down(share: float) -> float:
    return float(np.clip(np.floor(share * 10.0) / 10.0, 0.0, 0.9))
