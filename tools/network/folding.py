"""Fold linear operations into neighboring convolutions, in place. For deployment only; call without gradients."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn, sqrt


def affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return (factor, shift) per channel that a BatchNorm applies in eval mode."""
    factor = norm.weight / sqrt(cast(Tensor, norm.running_var) + norm.eps)
    return factor, norm.bias - cast(Tensor, norm.running_mean) * factor


def scale_outputs(convolution: nn.Conv2d, factor: Tensor, shift: Tensor) -> None:
    """Change a convolution so that it returns ``factor * y + shift`` in place of ``y``."""
    convolution.weight.mul_(factor[:, None, None, None])
    bias = cast(Tensor, convolution.bias)
    bias.copy_(bias * factor + shift)


def scale_inputs(convolution: nn.Conv2d, factor: Tensor, shift: Tensor) -> None:
    """Change a convolution without padding so that its input is ``x`` in place of ``factor * x + shift``."""
    cast(Tensor, convolution.bias).add_((convolution.weight * shift[None, :, None, None]).sum(dim=(1, 2, 3)))
    convolution.weight.mul_(factor[None, :, None, None])
