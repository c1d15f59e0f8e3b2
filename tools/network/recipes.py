"""Recipes for quantizing a network to 8 bits. Needs neither ``onnx`` nor PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

RangeMethod: TypeAlias = Literal["minmax", "percentile", "entropy"]
"""How the range of an activation is derived from the values observed in calibration."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to quantize. With 7 ``weight_bits``, sums of two products do not saturate in 16 bits, as they would on x86-64 without VNNI.

    ``kept_single`` names parts that stay in single precision (see ``quantization.part_of``).
    """

    method: RangeMethod
    activation_bits: int = 8
    weight_bits: int = 8
    kept_single: tuple[str, ...] = ()


RECIPES: Final[dict[str, Recipe]] = {
    "minmax": Recipe("minmax"),
    "percentile": Recipe("percentile"),
    "entropy": Recipe("entropy"),
    "spare-ends": Recipe("percentile", kept_single=("stem", "head")),
    "16-bit-activations": Recipe("minmax", activation_bits=16),
    "cpu": Recipe("minmax", weight_bits=7),
}
"""The default and the documented remedies for lost accuracy, cheapest first, and what a CPU runs."""

DEFAULT_RECIPE: Final = "minmax"
