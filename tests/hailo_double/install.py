"""Puts the double where ``import hailo_platform`` finds it."""

import sys
import types

from tests.hailo_double import binding


class _Refusing(types.ModuleType):
    """A package whose import ends with an ImportError, as a wrong version does."""


def install(monkeypatch, board):
    """Make ``hailo_platform`` importable for one test, on ``board``."""
    monkeypatch.setattr(binding, "BOARD", board)
    if board.import_error is not None:
        monkeypatch.setitem(sys.modules, "hailo_platform", None)  # importing it raises ImportError
        return
    top = types.ModuleType("hailo_platform")
    package = types.ModuleType("hailo_platform.pyhailort")
    inner = types.ModuleType("hailo_platform.pyhailort.pyhailort")
    for name, value in vars(binding).items():
        if name.startswith(("Hailo", "Infer", "Configured", "Async", "VDevice", "Device", "Format", "Control")):
            setattr(inner, name, value)
    # only these stand at the top level (hailo_platform/__init__.py)
    exported = ("VDevice", "Device", "FormatType", "FormatOrder", "HailoSchedulingAlgorithm", "HailoRTException", "AsyncInferJob")
    for name in (*exported, "HailoCommunicationClosedException"):
        setattr(top, name, getattr(binding, name))
    top.__version__ = board.library
    top.pyhailort = package
    package.pyhailort = inner
    monkeypatch.setitem(sys.modules, "hailo_platform", top)
    monkeypatch.setitem(sys.modules, "hailo_platform.pyhailort", package)
    monkeypatch.setitem(sys.modules, "hailo_platform.pyhailort.pyhailort", inner)
