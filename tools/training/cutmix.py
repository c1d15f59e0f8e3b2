"""CutMix over a batch (Yun et al. 2019, arXiv 1905.04899): a box of each image is replaced by that of another, and the losses are mixed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Mix:
    """One box for the whole batch. ``partner`` (n,) are the rows that fill it; ``share`` is the fraction of the area outside it."""

    partner: Tensor
    rows: slice
    columns: slice
    share: float

    def apply(self, pixels: Tensor) -> Tensor:
        """Return ``pixels`` (k n, channels, side, side) mixed; all first views come before all second views."""
        views = len(pixels) // len(self.partner)
        mixed = pixels.clone()
        source = torch.cat([self.partner + view * len(self.partner) for view in range(views)])
        mixed[..., self.rows, self.columns] = pixels[source][..., self.rows, self.columns]
        return mixed


def draw_mix(samples: int, side: int, generator: torch.Generator) -> Mix:
    """Draw partners and a box of up to half the image's area at a random position."""

    def uniform() -> float:
        return float(torch.rand((), generator=generator))

    area = 0.5 * uniform()
    stretch = 2.0 ** (uniform() - 0.5)
    height, width = (min(side, max(1, round(side * area**0.5 * factor))) for factor in (stretch, 1.0 / stretch))
    top, left = int(uniform() * (side - height + 1)), int(uniform() * (side - width + 1))
    partner = torch.randperm(samples, generator=generator)
    return Mix(partner, slice(top, top + height), slice(left, left + width), 1.0 - height * width / side**2)
