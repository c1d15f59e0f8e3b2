"""Taking what is linear into the convolution beside it, in place and without gradients: for deployment only."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn, sqrt


def affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return what a BatchNorm does when it no longer learns: (factor, shift) per channel."""
    factor = norm.weight / sqrt(cast(Tensor, norm.running_var) + norm.eps)
    return factor, norm.bias - cast(Tensor, norm.running_mean) * factor


def scale_outputs(convolution: nn.Conv2d, factor: Tensor, shift: Tensor) -> None:
    """Make a convolution answer ``factor * y + shift`` for ``y``."""
    convolution.weight.mul_(factor[:, None, None, None])
    bias = cast(Tensor, convolution.bias)
    bias.copy_(bias * factor + shift)


def scale_inputs(convolution: nn.Conv2d, factor: Tensor, shift: Tensor) -> None:
    """Make a convolution without padding take ``x`` for ``factor * x + shift``."""
    cast(Tensor, convolution.bias).add_((convolution.weight * shift[None, :, None, None]).sum(dim=(1, 2, 3)))
    convolution.weight.mul_(factor[None, :, None, None])
