"""An embedded image."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tools.bundle_build.reference import Reference


class EmbeddedImage(NamedTuple):
    """Result for one image: the reference and its embedding, float32 (dim,)."""

    reference: Reference
    vector: NDArray[np.float32]
