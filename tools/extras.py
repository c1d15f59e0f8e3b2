"""Optional dependencies (extras): a common error message and exit status if a module is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar, Final

from edge.errors import EdgeError, ExitCode

EXTRAS: Final[Mapping[str, str]] = {
    "amqtt": "demo",
    "coremltools": "ios",
    "daft": "daft",
    "faiss": "benchmark",
    "onnx": "train",
    "pip_audit": "lock",
    "pyarrow": "vectors",
    "rapidocr": "ocr",
    "ray": "ray",
    "safetensors": "teacher",
    "timm": "teacher",
    "torch": "train",
    "tqdm": "workstation",
    "usearch": "benchmark",
    "uv": "lock",
}
"""The extra that installs a module, by the module's name."""


class MissingExtraError(EdgeError):
    """A module is missing that an extra installs."""

    exit_code: ClassVar[ExitCode] = ExitCode.UNAVAILABLE


@contextmanager
def extra_required(purpose: str) -> Iterator[None]:
    """Raise ``MissingExtraError`` when a module of an extra cannot be imported inside the ``with`` block.

    ``purpose`` begins the message, for example ``--engine daft``. Other import errors pass unchanged.
    """
    try:
        yield
    except ImportError as error:
        module = (error.name or "").partition(".")[0]
        if module not in EXTRAS:
            raise
        raise missing_extra(purpose, module) from error


def missing_extra(purpose: str, module: str) -> MissingExtraError:
    """Return the error for ``module``, one of ``EXTRAS``: what needs it and the command that installs it."""
    return MissingExtraError(f"{purpose} needs {module}; install it with: .venv/bin/pip install -e '.[{EXTRAS[module]}]'")
