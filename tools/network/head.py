"""The head of the convolutional networks, which keeps spatial information.

Besides the global average it uses a reduced map pooled to 3x3, because the layout of a card is an important part of its identity.
"""

from __future__ import annotations

from typing import Final, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tools.network.folding import scale_inputs

POOL_TO_3X3: Final = {3: (1, 1), 4: (2, 1), 5: (3, 1), 6: (2, 2), 7: (3, 2), 9: (3, 3)}
"""Side of the last map -> (kernel, stride) of the average pooling that gives exactly 3x3, with the same cells at each resolution."""


class LayoutHead(nn.Module):
    """Last map (n, channels, side, side) → (n, dim), from its average and ``layout_channels`` channels pooled to 3x3 cells."""

    def __init__(self, channels: int, layout_channels: int, dim: int) -> None:
        super().__init__()
        self.layout = nn.Conv2d(channels, layout_channels, 1)
        self.project = nn.Conv2d(channels + 9 * layout_channels, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return vectors (n, dim) before normalization."""
        # a plain number when traced: the exported network has pooling with fixed kernels, which every runtime computes exactly
        side = int(x.shape[-1])
        kernel, stride = POOL_TO_3X3[side]
        layout = functional.avg_pool2d(self.layout(x), kernel, stride)
        features = torch.cat([functional.avg_pool2d(x, side), layout.reshape(-1, 9 * layout.shape[1], 1, 1)], dim=1)
        return torch.flatten(self.project(features), 1)

    def deployed(self) -> DeployedHead:
        """Return an equivalent head built of operations that the compiler of an NPU supports."""
        return DeployedHead(self)

    def fold_affine(self, factor: Tensor, shift: Tensor) -> None:
        """Fold ``factor * x + shift`` per channel into the head, which is exact because averaging commutes with it."""
        scale_inputs(self.layout, factor, shift)
        others = self.project.in_channels - len(factor)
        scale_inputs(self.project, torch.cat([factor, factor.new_ones(others)]), torch.cat([shift, shift.new_zeros(others)]))


class DeployedHead(nn.Module):
    """Equivalent to a ``LayoutHead`` but without reshape and concatenation, which compilers of NPUs support poorly.

    The projection of concatenated features is the sum of the projections of the parts: a 1x1 convolution of the global average and a 3x3
    convolution of the 3x3 map. The weights are those of the projection, rearranged.
    """

    def __init__(self, head: LayoutHead) -> None:
        super().__init__()
        weight, bias = head.project.weight.detach(), cast(Tensor, head.project.bias).detach()
        dim, places = len(weight), head.layout.out_channels
        channels = head.layout.in_channels
        self.layout = head.layout
        self.average = nn.Conv2d(channels, dim, 1, bias=False)
        self.places = nn.Conv2d(places, dim, 3)
        self.average.weight = nn.Parameter(weight[:, :channels].clone(), requires_grad=False)
        self.places.weight = nn.Parameter(weight[:, channels:].reshape(dim, places, 3, 3).clone(), requires_grad=False)
        self.places.bias = nn.Parameter(bias.clone(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return vectors (n, dim) before normalization."""
        kernel, stride = POOL_TO_3X3[int(x.shape[-1])]
        layout = self.layout(x)
        if kernel > 1:
            layout = functional.avg_pool2d(layout, kernel, stride)
        return torch.flatten(self.average(functional.adaptive_avg_pool2d(x, 1)) + self.places(layout), 1)
