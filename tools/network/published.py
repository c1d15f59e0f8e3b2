"""Published networks and weights from ``timm`` (the extra ``teacher``), usable as ``EmbeddingNetwork``.

Names are timm's. Used here: ``vit_large_patch16_dinov3`` (DINOv3, Simeoni et al. 2025, arXiv 2508.10104; 1024 features, patches of 16),
``vit_small_patch16_224``, ``convnext_base``, and the weights of ``convnext_tiny`` for ``ConvNext``.
"""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Final, cast

import torch
from torch import Tensor, nn

from edge.errors import DataError, EdgeError
from tools.extras import extra_required
from tools.network.contract import EmbeddingNetwork
from tools.network.convnext import ConvNext
from tools.network.settings import HUB, PublishedSettings

Weights = Mapping[str, Tensor]

CLASSIFIERS: Final = ("head.fc.", "head.weight", "head.bias")
"""Prefixes of the weights of published classifiers that embedding networks do not have."""


def nearest_side(side: int, patch: int | None) -> int:
    """Return the multiple of ``patch`` nearest to ``side``, or ``side`` if ``patch`` is None: 518 becomes 512 for patches of 16."""
    return side if patch is None else max(1, round(side / patch)) * patch


class PublishedNetwork(EmbeddingNetwork):
    """A backbone of timm with a projection head; uses the mean and standard deviation the backbone was trained with.

    Raises ``DataError`` if timm does not know the backbone, ``MissingExtraError`` without timm.
    """

    def __init__(self, settings: PublishedSettings) -> None:
        try:
            backbone = timm_library().create_model(
                settings.model, pretrained=False, num_classes=0, **_size_options(settings), **settings.options
            )
        except RuntimeError as error:
            raise DataError(f"{settings.model}: timm cannot create this network ({error}); see timm.list_models()") from error
        known = backbone.pretrained_cfg
        super().__init__(tuple(255.0 * value for value in known["mean"]), tuple(255.0 * value for value in known["std"]))
        self.settings = settings
        self.backbone: nn.Module = backbone
        width = int(backbone.num_features)
        layers: list[nn.Module] = []
        if settings.hidden is not None:
            layers = [nn.Linear(width, settings.hidden), nn.GELU(), nn.Dropout(settings.dropout)]
        self.head = nn.Sequential(*layers, nn.Linear(settings.hidden or width, settings.dim))

    def raw(self, x: Tensor) -> Tensor:
        """Return vectors (n, dim) before normalization."""
        return cast(Tensor, self.head(self.backbone(x)))

    @property
    def output_layer(self) -> nn.Linear:
        """Return the last layer of the head."""
        return cast(nn.Linear, self.head[-1])

    def train_only(self, last_blocks: int) -> None:
        """Freeze the backbone except its last blocks; 0 freezes all of it. The head is always trained."""
        self.backbone.requires_grad_(requires_grad=False)
        if last_blocks:
            blocks = list(cast(nn.Sequential, self.backbone.blocks))
            norms = [part for name in ("norm", "fc_norm") if isinstance(part := getattr(self.backbone, name, None), nn.Module)]
            for part in (*blocks[-last_blocks:], *norms):
                part.requires_grad_(requires_grad=True)


def _size_options(settings: PublishedSettings) -> dict[str, int]:
    return {} if settings.patch is None else {"img_size": settings.side}


def timm_library() -> ModuleType:
    """Return the module ``timm``. Raises ``MissingExtraError``, or ``DataError`` if its torchvision does not fit the installed PyTorch."""
    try:
        with extra_required("a published network"):
            return importlib.import_module("timm")  # most training runs do not need it
    except RuntimeError as error:
        raise DataError(f"timm cannot be imported ({error}); install torch and torchvision of versions that fit each other") from error


def published_weights(model: str, weights: str, options: Mapping[str, object] | None = None) -> Weights:
    """Return published weights with timm's names: from the hub if ``weights`` is "hub", else from the file it names.

    Raises ``DataError`` if they cannot be downloaded or read.
    """
    if weights != HUB:
        return read_weights(Path(weights))
    try:
        return cast(Weights, timm_library().create_model(model, pretrained=True, num_classes=0, **(options or {})).state_dict())
    except EdgeError:
        raise
    except Exception as error:  # the hub's client has many errors of its own
        raise DataError(
            f"{model}: its published weights cannot be downloaded ({type(error).__name__}: {error}); download them where there is a "
            "network (huggingface.co/timm) and name the file with --weights"
        ) from error


def load_published(network: EmbeddingNetwork, weights: str) -> None:
    """Load published weights into a backbone of timm or a LayerNorm ``ConvNext``; the head keeps its own.

    Raises ``DataError`` if there are none for this network or they do not fit.
    """
    settings = network.settings
    if isinstance(network, PublishedNetwork):
        found = published_weights(settings.model, weights, {**_size_options(settings), **settings.options})
        _fill(network.backbone, {name: value for name, value in found.items() if not name.startswith(CLASSIFIERS)}, weights)
    elif isinstance(network, ConvNext):
        load_published_convnext(network, published_weights("convnext_tiny", weights), weights)
    else:
        raise DataError(f"{weights}: there are no published weights for this network; omit --weights")


def read_weights(path: Path) -> Weights:
    """Read a file of weights in the format of safetensors or PyTorch. Raises ``DataError`` if it cannot be read."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return cast(Weights, load_file(str(path)))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, ImportError, pickle.UnpicklingError) as error:
        raise DataError(f"{path}: not a file of weights ({type(error).__name__}: {error})") from error
    for key in ("model", "state_dict"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    return cast(Weights, state)


def load_published_convnext(network: ConvNext, weights: Weights, source: str) -> None:
    """Load weights with timm's names (``convnext_tiny``) into a LayerNorm ``ConvNext``; the head keeps its own.

    The last LayerNorm of timm follows the global average, ours precedes it, so its weights are only a starting point; the map before it is
    identical. Raises ``DataError`` for a BatchNorm network or weights that do not fit.
    """
    if network.settings.norm != "layer":
        raise DataError(f"{source}: published ConvNeXt weights are for LayerNorm; train with --network layer")
    translated = {our_name(name): value for name, value in weights.items() if not name.startswith(CLASSIFIERS)}
    own = network.state_dict()
    for name, value in translated.items():
        if name in own and value.numel() == own[name].numel():
            translated[name] = value.reshape(own[name].shape)  # Linear (out, in) is our 1x1 convolution (out, in, 1, 1)
    kept = {name: value for name, value in own.items() if name.startswith("head.")}
    _fill(network, {**kept, **translated}, source)


def our_name(name: str) -> str:
    """Return the name that a weight of timm's ConvNeXt has in ``ConvNext``.

    ``stages.1.blocks.0.mlp.fc1.weight`` becomes ``stages.2.0.expand.weight``.
    """
    parts = name.split(".")
    if parts[0] == "stem":
        return f"stem.{parts[2]}" if parts[1] == "0" else f"stem_norm.norm.{parts[2]}"
    if parts[0] == "head":
        return ".".join(["final_norm", "norm", *parts[2:]])
    if parts[0] != "stages":
        return name
    stage = int(parts[1])
    if parts[2] == "downsample":
        return ".".join(["stages", str(2 * stage - 1), *(["0", "norm"] if parts[3] == "0" else ["1"]), *parts[4:]])
    inside = {"conv_dw": "depthwise", "norm": "norm.norm", "mlp.fc1": "expand", "mlp.fc2": "project", "gamma": "scale"}
    rest = ".".join(parts[4:])
    for theirs, ours in inside.items():
        if rest == theirs or rest.startswith(f"{theirs}."):
            rest = ours + rest[len(theirs) :]
            break
    return f"stages.{2 * stage}.{parts[3]}.{rest}"


def _fill(module: nn.Module, weights: Weights, source: str) -> None:
    own = module.state_dict()
    missing, unknown = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    wrong = sorted(name for name in own.keys() & weights.keys() if own[name].shape != weights[name].shape)
    for names, problem in ((missing, "lacks"), (unknown, "also holds"), (wrong, "has another shape for")):
        if names:
            raise DataError(f"{source}: {problem} {names[0]!r} ({len(names)} such); these are the weights of another network")
    module.load_state_dict(dict(weights))
