"""The error tree: each error knows its exit status and says the next step in its message."""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """Exit statuses of every command (values of ``sysexits.h``), and two answers of ``identify --expect``."""

    OK = 0
    MISMATCH = 1
    CANNOT_SAY = 2
    USAGE = 64
    BAD_DATA = 65
    UNAVAILABLE = 69
    SOFTWARE = 70
    CONFIG = 78


class EdgeError(Exception):
    """Base of all errors a person can meet; the message names the thing and the next step."""

    exit_code: ClassVar[ExitCode] = ExitCode.SOFTWARE


class UsageError(EdgeError):
    """The command line does not fit the command."""

    exit_code = ExitCode.USAGE


class CommandError(UsageError):
    """A command over MQTT is not known or its arguments do not fit."""


class SettingsError(EdgeError):
    """The settings file is missing, unreadable or holds a wrong key or value."""

    exit_code = ExitCode.CONFIG


class DataError(EdgeError):
    """An input file (image, CSV, film) cannot be used."""

    exit_code = ExitCode.BAD_DATA


class ImageError(DataError):
    """A picture is unreadable, empty or too large."""


class BundleError(DataError):
    """An index bundle is incomplete, altered, or of a newer format."""


class ModelError(DataError):
    """A network's folder under ``hef/`` is incomplete, altered or not usable here."""


class ModelMismatchError(BundleError):
    """A bundle was embedded by another network than the one in use."""


class SignatureError(BundleError):
    """A bundle is not signed, or not by somebody this device trusts."""


class ProtocolError(DataError):
    """The other side of a push says something that cannot be understood."""


class DeviceError(EdgeError):
    """Hardware or a service the settings name is not available."""

    exit_code = ExitCode.UNAVAILABLE


class CameraError(DeviceError):
    """The frame source cannot be opened or is gone."""


class CameraFrozenError(CameraError):
    """The frame source delivers nothing, or the same picture over and over, for longer than its bound."""


class CameraGarbageError(CameraError):
    """The frame source delivers something that is no picture of the scene."""


class SourceEndedError(CameraError):
    """The film or the folder of stills is over; opening it again starts it anew."""


class FilmError(CameraError):
    """A film or a folder of stills is missing, empty or unreadable."""

    exit_code = ExitCode.BAD_DATA


class ConnectionLostError(DeviceError):
    """The other side of a push is gone, silent, or out of time."""


class DriverHungError(DeviceError):
    """A call into a driver did not return within its bound."""


class EmbedderError(DeviceError):
    """The network could not be run or returned something that is no embedding."""


class EmbedderTimeoutError(EmbedderError):
    """The network did not answer within its bound."""


class NpuError(EmbedderError):
    """The NPU failed in a way that has no name of its own."""


class NpuAbsentError(NpuError):
    """There is no board, or its driver is not loaded."""


class NpuBusyError(NpuError):
    """Another process holds the board."""


class NpuPermissionError(NpuError):
    """Our user may not open the board."""


class NpuVersionError(NpuError):
    """Driver, library, firmware or Python package do not fit each other."""


class NpuHefError(NpuError):
    """The compiled network is damaged, for another chip, or from a newer compiler."""


class NpuOverheatedError(NpuError):
    """The board closed its streams to save itself."""


class NpuRemovedError(NpuError):
    """The board vanished while it was in use."""


class NpuTimeoutError(NpuError, EmbedderTimeoutError):
    """The board did not answer within its bound."""


class NpuReopeningError(NpuError):
    """The board failed and is being opened again; ask later."""


class TextReaderError(DeviceError):
    """What reads collector numbers is not installed or failed."""


class BrokerError(DeviceError):
    """The MQTT broker is unreachable or refuses us."""


class OutboxError(DeviceError):
    """The outbox database cannot be opened or written."""
