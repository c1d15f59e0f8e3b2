"""Puts the double where ``import hailo_platform`` finds it."""

import sys
import types
from contextlib import contextmanager
from unittest import mock

from tests.support.hailo_double import binding

AT_THE_TOP = (
    "VDevice", "Device", "FormatType", "FormatOrder", "HailoSchedulingAlgorithm", "HailoRTException", "AsyncInferJob",
    "HailoCommunicationClosedException",
)  # fmt: skip
"""Only these stand at the top level (hailo_platform/__init__.py)."""


def modules_of(board):
    """Return what ``sys.modules`` holds on a machine with ``board``; None where an import ends with an ImportError."""
    if board.import_error is not None:
        return {"hailo_platform": None}
    top = types.ModuleType("hailo_platform")
    package = types.ModuleType("hailo_platform.pyhailort")
    inner = types.ModuleType("hailo_platform.pyhailort.pyhailort")
    for name, value in vars(binding).items():
        if name.startswith(("Hailo", "Infer", "Configured", "Async", "VDevice", "Device", "Format", "Control")):
            setattr(inner, name, value)
    for name in AT_THE_TOP:
        setattr(top, name, getattr(binding, name))
    top.__version__ = board.library
    top.pyhailort = package
    package.pyhailort = inner
    return {"hailo_platform": top, "hailo_platform.pyhailort": package, "hailo_platform.pyhailort.pyhailort": inner}


def install(monkeypatch, board):
    """Make ``hailo_platform`` importable for one test, on ``board``."""
    monkeypatch.setattr(binding, "BOARD", board)
    for name, module in modules_of(board).items():
        monkeypatch.setitem(sys.modules, name, module)


@contextmanager
def installed(board):
    """The same for whoever has no test around it, while the block lasts."""
    with mock.patch.object(binding, "BOARD", board), mock.patch.dict(sys.modules, modules_of(board)):
        yield
