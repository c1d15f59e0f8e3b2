"""The embedding network: ConvNeXt-Tiny in a form that an NPU compiles, 768 numbers of unit length out.

Differences from the published ConvNeXt (Liu et al. 2022, arXiv 2201.03545), each for the compiler's sake:

- 1x1 convolutions instead of permute + Linear: the data stays NCHW.
- BatchNorm instead of LayerNorm (``norm="batch"``): it disappears into the neighbouring convolution. ``norm="layer"`` keeps the
  published LayerNorm, for those who start from published weights.
- Layer scale disappears into the second 1x1 convolution.
- The head sees *where* things are: besides the global average, a reduced map pooled to 3x3. A card's layout is half its identity.

Mean and standard deviation are part of the network: its input is RGB 0..255.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

RGB_MEAN = (123.675, 116.28, 103.53)
RGB_STD = (58.395, 57.12, 57.375)
"""ImageNet's, in 0..255, so that published weights fit."""

POOL_TO_3X3 = {3: (1, 1), 4: (2, 1), 5: (3, 1), 6: (2, 2), 7: (3, 2), 9: (3, 3)}
"""Side of the last map -> (kernel, stride) of the average pooling that gives exactly 3x3, the same places at each resolution."""


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """Shape of the network. The defaults are ConvNeXt-Tiny; tests use tiny ones.

    ``layout_channels`` is the width of the 3x3 map in the head: 96 keeps the whole network below 60 MB in half precision.
    """

    depths: tuple[int, ...] = (3, 3, 9, 3)
    widths: tuple[int, ...] = (96, 192, 384, 768)
    dim: int = 768
    norm: Literal["batch", "layer"] = "batch"
    layout_channels: int = 96
    layer_scale: float = 0.2


class LayerNorm2d(nn.Module):
    """LayerNorm over the channels of an NCHW map (eps of the published network)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each position of (n, c, h, w) over c."""
        return cast(Tensor, self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))


def make_norm(settings: NetworkSettings, channels: int) -> nn.Module:
    """Return the normalisation the settings name."""
    return nn.BatchNorm2d(channels) if settings.norm == "batch" else LayerNorm2d(channels)


class Block(nn.Module):
    """7x7 depthwise convolution, norm, 1x1 up to four times the width, GELU, 1x1 down, layer scale, plus the input."""

    def __init__(self, settings: NetworkSettings, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = make_norm(settings, channels)
        self.expand = nn.Conv2d(channels, 4 * channels, 1)
        self.project = nn.Conv2d(4 * channels, channels, 1)
        self.scale: nn.Parameter | None = nn.Parameter(torch.full((channels, 1, 1), settings.layer_scale))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to the same shape."""
        y = self.norm(self.depthwise(x))
        y = self.project(functional.gelu(self.expand(y)))
        return cast(Tensor, x + (y if self.scale is None else self.scale * y))

    @torch.no_grad()
    def fold(self) -> None:
        """Take the layer scale, and the norm where it is a BatchNorm, into the convolutions. For deployment only."""
        if self.scale is not None:
            factor = self.scale.flatten()
            self.project.weight.mul_(factor[:, None, None, None])
            cast(Tensor, self.project.bias).mul_(factor)
            self.scale = None
        if isinstance(self.norm, nn.BatchNorm2d):
            _scale_outputs(self.depthwise, *_affine(self.norm))
            self.norm = nn.Identity()


class EmbeddingNetwork(nn.Module):
    """RGB 0..255 (n, 3, side, side) -> unit vectors (n, dim). ``side`` is 32 times a key of ``POOL_TO_3X3``, 224 when deployed."""

    mean: Tensor
    std: Tensor

    def __init__(self, settings: NetworkSettings | None = None) -> None:
        super().__init__()
        self.settings = settings = settings or NetworkSettings()
        widths = settings.widths
        self.register_buffer("mean", torch.tensor(RGB_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(RGB_STD).view(1, 3, 1, 1), persistent=False)
        self.stem = nn.Conv2d(3, widths[0], 4, stride=4)
        self.stem_norm = make_norm(settings, widths[0])
        stages: list[nn.Module] = []
        for index, (depth, width) in enumerate(zip(settings.depths, widths, strict=True)):
            if index:
                stages.append(nn.Sequential(make_norm(settings, widths[index - 1]), nn.Conv2d(widths[index - 1], width, 2, stride=2)))
            stages.append(nn.Sequential(*(Block(settings, width) for _ in range(depth))))
        self.stages = nn.Sequential(*stages)
        self.final_norm = make_norm(settings, widths[-1])
        self.layout = nn.Conv2d(widths[-1], settings.layout_channels, 1)
        self.head = nn.Conv2d(widths[-1] + 9 * settings.layout_channels, settings.dim, 1)
        self.apply(_initialise)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return unit vectors, float32."""
        return self.embed((pixels - self.mean) / self.std)

    def embed(self, x: Tensor) -> Tensor:
        """Return unit vectors of pictures brought to mean 0 and standard deviation 1 (of raw ones, once folded)."""
        x = self.final_norm(self.stages(self.stem_norm(self.stem(x))))
        # the side is a plain number when traced: the pooling of the exported network has fixed kernels, which is exact everywhere
        side = int(x.shape[-1])
        kernel, stride = POOL_TO_3X3[side]
        layout = functional.avg_pool2d(self.layout(x), kernel, stride)
        features = torch.cat([functional.avg_pool2d(x, side), layout.reshape(-1, 9 * self.settings.layout_channels, 1, 1)], dim=1)
        vectors = self.head(features).flatten(1).float()
        return cast(Tensor, vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1e-6))

    @torch.no_grad()
    def fold(self, shrink: int = 1) -> None:
        """Take mean, standard deviation, layer scales and BatchNorms into the convolutions, so that ``embed`` takes RGB 0..255.

        ``shrink`` makes the stem read pictures that many times larger than those of the training, as if they were averaged down first:
        its 4x4 patches become patches of 4 times ``shrink``. Exact up to rounding; the network cannot be trained on afterwards.
        """
        self._widen_stem(shrink)
        _scale_inputs(self.stem, 1.0 / self.std.flatten(), -(self.mean / self.std).flatten())
        if isinstance(self.stem_norm, nn.BatchNorm2d):
            _scale_outputs(self.stem, *_affine(self.stem_norm))
            self.stem_norm = nn.Identity()
        for stage in self.stages:
            parts = list(cast(nn.Sequential, stage))
            for part in parts:
                if isinstance(part, Block):
                    part.fold()
            if isinstance(parts[0], nn.BatchNorm2d):
                _scale_inputs(cast(nn.Conv2d, parts[1]), *_affine(parts[0]))
                cast(nn.Sequential, stage)[0] = nn.Identity()
        if isinstance(self.final_norm, nn.BatchNorm2d):
            # averaging and a shift per channel commute, so both readers of the last map can take the norm in
            factor, shift = _affine(self.final_norm)
            _scale_inputs(self.layout, factor, shift)
            others = self.head.in_channels - len(factor)
            _scale_inputs(self.head, torch.cat([factor, factor.new_ones(others)]), torch.cat([shift, shift.new_zeros(others)]))
            self.final_norm = nn.Identity()

    def _widen_stem(self, shrink: int) -> None:
        small = self.stem
        side = 4 * shrink
        self.stem = nn.Conv2d(3, small.out_channels, side, stride=side)
        self.stem.weight.copy_(small.weight.repeat_interleave(shrink, dim=2).repeat_interleave(shrink, dim=3) / shrink**2)
        cast(Tensor, self.stem.bias).copy_(cast(Tensor, small.bias))


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return what a BatchNorm does when it no longer learns: (factor, shift) per channel."""
    factor = norm.weight / torch.sqrt(cast(Tensor, norm.running_var) + norm.eps)
    return factor, norm.bias - cast(Tensor, norm.running_mean) * factor


def _scale_outputs(convolution: nn.Conv2d, factor: Tensor, shift: Tensor) -> None:
    convolution.weight.mul_(factor[:, None, None, None])
    bias = cast(Tensor, convolution.bias)
    bias.copy_(bias * factor + shift)


def _scale_inputs(convolution: nn.Conv2d, factor: Tensor, shift: Tensor) -> None:
    """Make a convolution without padding take ``x`` for ``factor * x + shift``."""
    cast(Tensor, convolution.bias).add_((convolution.weight * shift[None, :, None, None]).sum(dim=(1, 2, 3)))
    convolution.weight.mul_(factor[None, :, None, None])


def _initialise(module: nn.Module) -> None:
    """Draw weights that keep the variance of their input: trained from nothing in minutes, the published 0.02 starts too weak."""
    if isinstance(module, nn.Conv2d):
        fan_in = module.weight[0].numel()
        nn.init.trunc_normal_(module.weight, std=fan_in**-0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def parameter_count(network: nn.Module) -> int:
    """Return the number of weights, counted once."""
    return sum(parameter.numel() for parameter in network.parameters())
