"""The exception hierarchy: each error has an exit status, and its message says what is wrong, where, and what to do."""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """Exit statuses of all commands: values of ``sysexits.h``, two of ``identify --expect``, and the shell's for Ctrl-C."""

    OK = 0
    MISMATCH = 1
    CANNOT_SAY = 2
    USAGE = 64
    BAD_DATA = 65
    UNAVAILABLE = 69
    SOFTWARE = 70
    CONFIG = 78
    INTERRUPTED = 130


class EdgeError(Exception):
    """Base class of all expected errors; the message says what is wrong and what to do.

    A message that people see on the page has a ``code`` and the ``values`` in it, so that the page can show it in their language.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.SOFTWARE

    def __init__(self, message: str = "", *, code: str | None = None, **values: str | int) -> None:
        super().__init__(message)
        self.code = code
        self.values = values


class UsageError(EdgeError):
    """The command line is wrong."""

    exit_code = ExitCode.USAGE


class CommandError(UsageError):
    """A command over MQTT is unknown, has wrong arguments, or cannot be executed."""


class SettingsError(EdgeError):
    """The settings file is missing, unreadable or contains a wrong key or value."""

    exit_code = ExitCode.CONFIG


class DataError(EdgeError):
    """An input file (image, CSV, video) cannot be used."""

    exit_code = ExitCode.BAD_DATA


class ImageError(DataError):
    """An image is unreadable, empty or too large."""


class BundleError(DataError):
    """An index bundle is incomplete, modified, or of a newer format."""


class ModelError(DataError):
    """A model folder is incomplete, modified or not usable on this machine."""


class ModelMismatchError(BundleError):
    """A bundle was embedded by another model than the one in use."""


class SignatureError(BundleError):
    """A bundle is not signed, or not by a trusted signer."""


class RevokedKeyError(SignatureError):
    """A bundle was signed by a key that is revoked, or a technician whose access is revoked has connected."""


class ProtocolError(DataError):
    """The peer of a push violated the protocol."""


class DeviceError(EdgeError):
    """Hardware or a service named in the settings is unavailable."""

    exit_code = ExitCode.UNAVAILABLE


class CameraError(DeviceError):
    """The frame source cannot be opened or was lost."""


class CameraFrozenError(CameraError):
    """The frame source has delivered no frame, or only identical frames, for longer than allowed."""


class CameraGarbageError(CameraError):
    """The frame source delivers frames that do not show a scene."""


class SourceEndedError(CameraError):
    """The video or folder of stills has ended; it starts over when opened again."""


class RecordingError(CameraError):
    """A video or folder of stills is missing, empty or unreadable."""

    exit_code = ExitCode.BAD_DATA


class ConnectionLostError(DeviceError):
    """The peer of a push disconnected, went silent, or exceeded its time limit."""


class CounterBusyError(DeviceError):
    """A bundle is not activated yet because cards are being counted."""


class DriverHungError(DeviceError):
    """A driver call did not return within its timeout."""


class EmbedderError(DeviceError):
    """The model could not be run or returned an invalid embedding."""


class EmbedderTimeoutError(EmbedderError):
    """The model did not return within its timeout."""


class DetectorError(DeviceError):
    """The network of the locator could not be run or returned invalid outputs."""


class NpuError(EmbedderError):
    """The NPU failed for a reason without an error class of its own."""


class NpuAbsentError(NpuError):
    """No NPU was found, or its driver is not loaded."""


class NpuBusyError(NpuError):
    """Another process uses the NPU."""


class NpuPermissionError(NpuError):
    """This user has no permission to open the NPU."""


class NpuVersionError(NpuError):
    """Driver, library, firmware and Python package have incompatible versions."""


class NpuHefError(NpuError):
    """The HEF file is damaged, compiled for another chip, or from a newer compiler."""


class NpuOverheatedError(NpuError):
    """The NPU closed its streams because of overheating or low supply voltage."""


class NpuRemovedError(NpuError):
    """The NPU disappeared while in use."""


class NpuTimeoutError(NpuError, EmbedderTimeoutError):
    """The NPU did not respond within its timeout."""


class NpuReopeningError(NpuError):
    """The NPU failed and is being reopened; try again later."""


class TextReaderError(DeviceError):
    """The reader of collector numbers is not installed or failed."""


class BrokerError(DeviceError):
    """The MQTT broker is unreachable or refused the connection."""


class OutboxError(DeviceError):
    """The outbox database cannot be opened or written."""
