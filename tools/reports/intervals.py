"""Confidence intervals of shares."""

from __future__ import annotations

from math import sqrt

Z_95 = 1.959963984540054
"""Half-width of the central 95 % of a normal distribution, in standard deviations."""


def wilson_interval(successes: int, n: int, z: float = Z_95) -> tuple[float, float]:
    """Return the Wilson score interval of a share (E. B. Wilson, J. Am. Stat. Assoc. 22, 1927).

    Unlike share ± error it is correct near 0 and 1. Without trials it is (0, 1).
    """
    if n == 0:
        return 0.0, 1.0
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} trials")
    share = successes / n
    center = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, center - half), min(1.0, center + half)
