"""Read a trainable locator network back from its model folder, so that a published network can be trained further."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from edge.errors import ModelError
from edge.recognition.model import MODEL_FILE, read_model_json
from edge.vision.frame import RgbImage
from tools.network.locator import LocatorNetwork, LocatorSettings
from tools.network.regnet import NormedConvolution

PREFIX: Final = "network."
"""Before the name of each weight in the ONNX file."""
_BATCH: Final = 16


def settings_of(record: Any) -> LocatorSettings:
    """Return the architecture parameters of a checkpoint or of ``model.json``. Raises ``ModelError`` if they are not of this network."""
    names = {field.name for field in fields(LocatorSettings)}
    if not isinstance(record, dict) or set(record) != names or record["kind"] != LocatorSettings().kind:
        raise ModelError("the network's settings are not those of a locator network of this version; train it again")
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in record.items()}
    return LocatorSettings(**values)


def read_trainable(folder: Path, frames: Sequence[RgbImage]) -> LocatorNetwork:
    """Return the network in a model folder, with its normalization layers again.

    An export folds them away. Each is restored with the mean and variance that its channels have over ``frames``, inputs of the network, so
    that it changes nothing until it is trained. Raises ``ModelError`` if the folder or its ONNX file does not hold such a network.
    """
    manifest = read_model_json(folder)
    path = folder / MODEL_FILE
    if not isinstance(manifest, dict) or "network" not in manifest:
        raise ModelError(f"{path}: has no `network` with the settings of the architecture; export the network with this version")
    network = LocatorNetwork(settings_of(manifest["network"]))
    folded = LocatorNetwork(network.settings)
    folded.fold()
    _load(folded, folder / str(manifest["artifacts"]["onnx"]["file"]))
    statistics = _statistics(folded, frames)
    trained = folded.state_dict()
    network.load_state_dict({name: value for name, value in trained.items() if name in network.state_dict()}, strict=False)
    for name, module in network.named_modules():
        if isinstance(module, NormedConvolution):
            _restore_norm(cast(nn.BatchNorm2d, module.norm), *statistics[name])
    return network


def _load(network: LocatorNetwork, path: Path) -> None:
    """Load the weights of an ONNX file into a folded network."""
    try:
        graph = onnx.load(str(path)).graph
    except Exception as error:  # protobuf and onnx raise classes without a common base
        raise ModelError(f"{path}: not a readable ONNX file ({error}); export the network again") from error
    weights = {weight.name.removeprefix(PREFIX): numpy_helper.to_array(weight) for weight in graph.initializer}
    missing = [name for name, value in network.named_parameters() if weights.get(name, np.empty(0)).shape != tuple(value.shape)]
    if missing:
        raise ModelError(f"{path}: no weight `{missing[0]}` of the shape that `network` of {MODEL_FILE} says; export the network again")
    network.load_state_dict({name: torch.from_numpy(weights[name].copy()) for name, _ in network.named_parameters()}, strict=False)


@torch.no_grad()
def _statistics(folded: LocatorNetwork, frames: Sequence[RgbImage]) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return mean and variance of the channels of each convolution over frames."""
    sums: dict[str, list[Any]] = {}

    def count(name: str, output: Tensor) -> None:
        values = output.double()
        entry = sums.setdefault(name, [0, 0.0, 0.0])
        entry[0] += values.numel() // values.shape[1]
        entry[1] = entry[1] + values.sum(dim=(0, 2, 3)).numpy()
        entry[2] = entry[2] + values.square().sum(dim=(0, 2, 3)).numpy()

    hooks = [
        module.register_forward_hook(lambda _module, _inputs, output, name=name: count(name, output))
        for name, module in folded.named_modules()
        if isinstance(module, NormedConvolution)
    ]
    folded.eval()
    for start in range(0, len(frames), _BATCH):
        folded(torch.from_numpy(np.stack(frames[start : start + _BATCH])).permute(0, 3, 1, 2).float())
    for hook in hooks:
        hook.remove()
    return {
        name: (total / number, np.maximum(squares / number - (total / number) ** 2, 0.0)) for name, (number, total, squares) in sums.items()
    }


@torch.no_grad()
def _restore_norm(norm: nn.BatchNorm2d, mean: NDArray[np.float64], variance: NDArray[np.float64]) -> None:
    cast(Tensor, norm.running_mean).copy_(torch.from_numpy(mean))
    cast(Tensor, norm.running_var).copy_(torch.from_numpy(variance))
    norm.weight.copy_(torch.from_numpy(np.sqrt(variance + norm.eps)))
    norm.bias.copy_(torch.from_numpy(mean))
