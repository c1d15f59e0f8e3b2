"""Installs the double as ``hailo_platform``."""

import sys
import types
from contextlib import contextmanager
from unittest import mock

from tests.support.hailo_double import binding

AT_THE_TOP = (
    "VDevice", "Device", "FormatType", "FormatOrder", "HailoSchedulingAlgorithm", "HailoRTException", "AsyncInferJob",
    "HailoCommunicationClosedException",
)  # fmt: skip
"""The names at the top level (hailo_platform/__init__.py)."""


def modules_of(board):
    """Return the entries of ``sys.modules`` on a machine with ``board``; None for a module that cannot be imported."""
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
    """Make ``hailo_platform`` importable inside the block, outside of a test."""
    with mock.patch.object(binding, "BOARD", board), mock.patch.dict(sys.modules, modules_of(board)):
        yield
