"""CutMix over a batch (Yun et al. 2019, arXiv 1905.04899): a box of each image comes from another, as does its share of the loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Mix:
    """One box for the whole batch. ``partner`` (n,) is whose image fills it, ``share`` the part of the area that stays."""

    partner: Tensor
    rows: slice
    columns: slice
    share: float

    def apply(self, pixels: Tensor) -> Tensor:
        """Return ``pixels`` (k n, channels, side, side) mixed; with several views per sample they come one after the other."""
        views = len(pixels) // len(self.partner)
        mixed = pixels.clone()
        source = torch.cat([self.partner + view * len(self.partner) for view in range(views)])
        mixed[..., self.rows, self.columns] = pixels[source][..., self.rows, self.columns]
        return mixed


def draw_mix(samples: int, side: int, generator: torch.Generator) -> Mix:
    """Draw partners and a box of up to half the area, anywhere in the image; the share is that of the pixels."""

    def uniform() -> float:
        return float(torch.rand((), generator=generator))

    area = 0.5 * uniform()
    stretch = 2.0 ** (uniform() - 0.5)
    height, width = (min(side, max(1, round(side * area**0.5 * factor))) for factor in (stretch, 1.0 / stretch))
    top, left = int(uniform() * (side - height + 1)), int(uniform() * (side - width + 1))
    partner = torch.randperm(samples, generator=generator)
    return Mix(partner, slice(top, top + height), slice(left, left + width), 1.0 - height * width / side**2)
