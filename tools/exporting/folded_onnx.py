"""Write a network of the locator as an ONNX file, folded, and compare the file with the trained network."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from edge.errors import DataError
from edge.vision.card import Size
from tools.exporting.onnx_format import OPSET
from tools.network.locator_parts import FoldableNetwork
from tools.network.locator_weights import PREFIX

MAX_DIFFERENCE: Final = 1e-3
"""Most that an output of the file may differ from the trained network's, as a share of the largest value where that exceeds 1.

Folding and another order of sums cost less.
"""
INPUT: Final = "pixels"


class _Deployed(nn.Module):
    """uint8 (n, height, width, 3) → the outputs of a folded network."""

    def __init__(self, network: FoldableNetwork) -> None:
        super().__init__()
        self.network = network
        if next(iter(self.state_dict())).split(".")[0] + "." != PREFIX:
            raise TypeError("the names of the weights no longer begin as reading them back expects")

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.network(pixels.permute(0, 3, 1, 2).float()))


def write_folded_onnx(network: FoldableNetwork, size: Size, outputs: Sequence[str], path: Path, *, any_size: bool = False) -> None:
    """Write the folded network as an ONNX file for uint8 (n, height, width, 3) with any n; ``network`` stays as it is.

    With ``any_size`` height and width are free as well; the outputs are then maps (n, channels, rows, columns).
    """
    folded = copy.deepcopy(network).eval()
    folded.fold()
    axes = {name: {0: "n"} for name in (INPUT, *outputs)}
    if any_size:
        axes = {name: {0: "n", 2: "rows", 3: "columns"} for name in outputs} | {INPUT: {0: "n", 1: "height", 2: "width"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the tracing exporter being deprecated; it keeps the names of the weights
        torch.onnx.export(
            _Deployed(folded),
            (torch.zeros(2, size.height, size.width, 3, dtype=torch.uint8),),
            str(path),
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=list(outputs),
            dynamic_axes=axes,
            dynamo=False,
        )
    onnx.checker.check_model(onnx.load(str(path)), full_check=True)


@torch.no_grad()
def outputs_on_noise(
    network: FoldableNetwork, size: Size, outputs: Sequence[str], path: Path
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return the outputs of the trained network and of its ONNX file for noise of any contrast."""
    noise = np.random.default_rng(1).integers(0, 256, (4, size.height, size.width, 3)) * np.array([0.1, 0.4, 0.7, 1.0])[:, None, None, None]
    pixels = noise.astype(np.uint8)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = tuple(torch.from_numpy(values) for values in session.run(list(outputs), {INPUT: pixels}))
    return tuple(network.eval()(torch.from_numpy(pixels).permute(0, 3, 1, 2).float())), found


def require_equal(path: Path, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Raise ``DataError`` naming the first output of the ONNX file that differs from the trained network's."""
    for name, values in expected.items():
        difference = float((values - found[name]).abs().max() / values.abs().max().clamp_min(1.0))
        if difference > MAX_DIFFERENCE:
            raise DataError(
                f"{path}: `{name}` differs by {difference:.1e} from the trained network (at most {MAX_DIFFERENCE:g}); export it again "
                "with the versions of torch and ONNX Runtime of the extra `train`"
            )
