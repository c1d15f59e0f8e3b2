"""A contract double of ``hailo_platform``: names, signatures, argument checks, units, exceptions and threads of the real binding.

Source: hailo-ai/hailort, branch hailo8, ``hailort/libhailort/bindings/python/platform/hailo_platform/pyhailort/pyhailort.py`` and
``bindings/python/src/``. Underneath runs a model's ONNX with its last layer's output quantised as a chip would; ``Board`` says what kind of
board there is and how it shall fail. ``install`` puts the package into ``sys.modules`` for a test.
"""

from tests.support.hailo_double.board import Board, Fault, write_hef
from tests.support.hailo_double.install import install, installed

__all__ = ["Board", "Fault", "install", "installed", "write_hef"]
