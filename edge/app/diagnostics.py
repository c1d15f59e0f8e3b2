"""Checks of ``cardedge check``: what works on this machine, what does not, and what to do about it.

Each check yields results and never raises an ``EdgeError`` to its caller; a failed check does not prevent the others.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Literal, TypeAlias

import cv2
import numpy as np

from edge import __version__
from edge.app.broker import probe_broker
from edge.app.camera import open_camera, source_label
from edge.app.child_check import check_in_child
from edge.app.locator import open_locate
from edge.app.model import LoadedModel, load_model
from edge.app.recognizer import open_text_reader
from edge.app.storage import memory_storage
from edge.errors import CameraError, EdgeError, ExitCode, ModelError, OutboxError
from edge.index.releases import check_index
from edge.recognition.embedding import ModelId
from edge.recognition.locator_model import find_locator_model, open_locator_model
from edge.recognition.model import find_model, open_model, read_model_manifest
from edge.settings.file import load_settings
from edge.settings.sections import Settings
from edge.system import machine
from edge.system.device_id import derive_device_id
from edge.system.npu import NpuStatus, slow_link, summary, untested_runtime, warnings
from edge.system.permissions import error_message
from edge.vision.frame import Frame

LIBRARIES: Final = ("numpy", "opencv-python-headless", "onnxruntime", "hnswlib", "paho-mqtt", "pydantic", "pillow", "python-ulid")

EXPOSURE_FRAMES: Final = 10
"""Frames read before one is examined, so that a camera's automatic exposure can settle."""

DARK, BRIGHT, BLURRED = 35.0, 225.0, 12.0
"""Limits of the mean gray level (0 to 255), and of the variance of the Laplacian of an image 640 pixels wide. Coarse on purpose."""

LOW_DISK_MB, FULL_DISK_MB = 1000, 100

THROTTLING_BEGINS_C: Final = 80.0
"""A Pi 5 begins to throttle at 80 °C (Raspberry Pi documentation, "Frequency management and thermal control")."""

NOT_AT_REST: Final = {"camera", "broker", "clock", "temperature"}
"""Checks that are skipped with ``at_rest``."""

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One line of the report. ``exit_code`` is 0 unless the level is ``fail``."""

    check: str
    level: Level
    message: str
    exit_code: int = 0


Check: TypeAlias = Callable[[Settings], Iterator[CheckResult]]


def run_checks(config: Path, *, at_rest: bool = False, index: Path | None = None) -> Iterator[CheckResult]:
    """Check everything that the settings in ``config`` name; yield each result as soon as it is known.

    ``at_rest`` skips what a running scanner occupies (camera, NPU) and what may be missing for a while (broker, clock, temperature): it
    checks that program, settings, model and index fit together. ``index`` is checked instead of the index of the settings.
    """
    yield from _versions()
    try:
        settings = load_settings(config)
    except EdgeError as error:
        yield _failure("settings", error)
        return
    if index is not None:
        settings = settings.model_copy(update={"index": settings.index.model_copy(update={"directory": index})})
    checks: dict[str, Check] = {
        "settings": lambda settings: _settings(config, settings),
        "network": lambda settings: _model(settings, at_rest=at_rest),
        "index": _index,
        "locator": _locator,
        "numbers": _numbers,
        "camera": _camera,
        "broker": _broker,
        "outbox": _outbox,
        "clock": lambda _: _clock(),
        "disk": _disk,
        "temperature": lambda _: _temperature(),
    }
    for name, check in checks.items():
        if at_rest and name in NOT_AT_REST:
            continue
        try:
            yield from check(settings)
        except (EdgeError, PermissionError) as error:
            yield _failure(name, error)


def _failure(check: str, error: EdgeError | PermissionError) -> CheckResult:
    exit_code = error.exit_code if isinstance(error, EdgeError) else ExitCode.UNAVAILABLE
    return CheckResult(check=check, level="fail", message=error_message(error), exit_code=exit_code)


def _ok(check: str, message: str) -> CheckResult:
    return CheckResult(check=check, level="ok", message=message)


def _warning(check: str, message: str) -> CheckResult:
    return CheckResult(check=check, level="warn", message=message)


def _versions() -> Iterator[CheckResult]:
    versions = [f"cardedge {__version__}", f"Python {sys.version.split()[0]}"]
    for library in LIBRARIES:
        try:
            versions.append(f"{library} {version(library)}")
        except PackageNotFoundError:
            yield _warning("versions", f"{library} is not installed as a package; run install.sh again")
    yield _ok("versions", ", ".join(versions))


def _settings(config: Path, settings: Settings) -> Iterator[CheckResult]:
    yield _ok("settings", f"{config}; device id {settings.device.id or derive_device_id()}")


def _model(settings: Settings, *, at_rest: bool) -> Iterator[CheckResult]:
    folder = find_model(settings.network.model)
    model = open_model(folder)
    manifest = model.manifest
    yield _ok("model", f"{manifest.name} {manifest.model_id} in {folder}: all files are intact")
    views = ", ".join(f"{view.view} {100 * view.top1:.1f} %" for view in manifest.measured.views)
    yield _ok("training", manifest.training.note + (f"\nmeasured top-1 accuracy: {views}" if views else ""))
    if at_rest and settings.network.backend == "hailo":
        yield _ok("backend", f"hailo: {model.artifact_path('hef').name} exists; the NPU was not opened")
        return
    with load_model(settings.network) as loaded:
        start_s = time.perf_counter()
        loaded.embed(model.golden_inputs[:1])
        took_ms = 1000.0 * (time.perf_counter() - start_s)
        backend: str = settings.network.backend
        if loaded.precision is not None:
            backend = f"{backend}, {_file_running(loaded)} ({loaded.precision})"
        yield _ok("backend", f"{backend}: self-test passed (cosine {loaded.self_test_cosine:.4f}), {took_ms:.0f} ms per image")
        if loaded.npu_status is not None:
            yield from _npu(loaded.npu_status())


def _file_running(loaded: LoadedModel) -> str:
    running = loaded.embedder.info.artifact_sha256
    return next(artifact.file for artifact in loaded.model.manifest.artefacts.values() if artifact.sha256 == running)


def _locator(settings: Settings) -> Iterator[CheckResult]:
    """Check the model of the locator, and run it unless it is for the NPU."""
    section = settings.locate
    if section.method == "classical":
        yield _ok("locator", "classical: needs no model")
        return
    model = open_locator_model(find_locator_model(section.model))
    name = f"{section.method}, network {model.manifest.model_id} in {model.folder}"
    if section.backend == "hailo":
        yield _ok("locator", f"{name}, on hailo: {model.artifact_path('hef').name} is intact; the daemon opens it")
        return
    with open_locate(section) as locate:
        start_s = time.perf_counter()
        locate(np.full((720, 1280, 3), 127, dtype=np.uint8))
        took_ms = 1000.0 * (time.perf_counter() - start_s)
    yield _ok("locator", f"{name}, on {section.backend}: {took_ms:.0f} ms for an empty frame")


def _npu(status: NpuStatus) -> Iterator[CheckResult]:
    yield _ok("npu", summary(status))
    for concern in (*warnings(status), untested_runtime(status), slow_link(status)):
        if concern is not None:
            yield _warning("npu", concern)


def _index(settings: Settings) -> Iterator[CheckResult]:
    folder = settings.index.directory
    check = partial(check_in_child, search=settings.index.search)
    manifest = check_index(folder, check, expected_model_id=_known_model_id(settings))
    yield _ok("index", f"{manifest.name} {manifest.bundle_id}: {manifest.cards} cards, {manifest.entries} entries")
    if manifest.entries == 0:
        yield _warning("index", f"{folder}: empty, so every card will be unknown; build a bundle with tools/build_index.py")
    elif manifest.calibration is None:
        yield _ok("thresholds", "conservative defaults, not calibrated for this bundle; run tools/calibrate.py on the workstation")
    else:
        yield _ok("thresholds", f"calibrated: {manifest.calibration.source}")


def _numbers(settings: Settings) -> Iterator[CheckResult]:
    reader = open_text_reader(settings.recognition)
    if reader is None:
        wanted = settings.recognition.read_numbers
        missing = "the extra is not installed; sudo ./install.sh --with ocr adds it"
        why = 'recognition.read_numbers is "never"' if wanted == "never" else missing
        yield _ok("numbers", f"collector numbers are not read: {why}")
        return
    start_s = time.perf_counter()
    reader.read_text(np.full((155, 1008, 3), 255, dtype=np.uint8))
    yield _ok("numbers", f"collector numbers are read: RapidOCR {version('rapidocr')} started in {time.perf_counter() - start_s:.1f} s")


def _known_model_id(settings: Settings) -> ModelId | None:
    """Return the id of the model, or None if it cannot be read: the check of the model reports that."""
    try:
        return ModelId(read_model_manifest(find_model(settings.network.model)).model_id)
    except ModelError:
        return None


def _camera(settings: Settings) -> Iterator[CheckResult]:
    section, label = settings.camera, source_label(settings.camera)
    timeout_s = section.open_timeout_s + section.read_timeout_s
    frames = 0
    start_s = time.monotonic()
    with open_camera(section, recover=False) as camera:
        frame = newest = camera.get_frame(timeout_s)
        while newest is not None and frames < EXPOSURE_FRAMES:
            frame, frames = newest, frames + 1
            newest = camera.get_frame(section.read_timeout_s)
    if frame is None:
        raise CameraError(f"{label}: no frame within {timeout_s:g} s; check cable and address")
    seconds = time.monotonic() - start_s
    yield _ok("camera", f"{label}: {frame.width}x{frame.height}, {frames} frames in {seconds:.1f} s")
    yield from _image_quality(frame)


def _image_quality(frame: Frame) -> Iterator[CheckResult]:
    """Check one frame for light and sharpness."""
    gray = cv2.cvtColor(frame.pixels, cv2.COLOR_RGB2GRAY)
    gray = cv2.resize(gray, (640, max(1, round(640 * frame.height / frame.width))), interpolation=cv2.INTER_AREA)
    brightness, sharpness = float(gray.mean()), float(cv2.Laplacian(gray, cv2.CV_64F).var())
    values = f"brightness {brightness:.0f} of 255, sharpness {sharpness:.0f}"
    if brightness < DARK:
        yield _warning("picture", f"{values}: very dark; add light, remove the lens cap, or raise camera.exposure_us")
    elif brightness > BRIGHT:
        yield _warning("picture", f"{values}: washed out; lower camera.exposure_us or turn the light away")
    elif sharpness < BLURRED:
        yield _warning(
            "picture", f"{values}: blurred or empty; put a card in view, then set camera.lens_position_dioptres to 1 / distance in meters"
        )
    else:
        yield _ok("picture", values)


def _broker(settings: Settings) -> Iterator[CheckResult]:
    yield _ok("broker", f"{settings.mqtt.host}:{settings.mqtt.port}: {probe_broker(settings)}")


def _outbox(settings: Settings) -> Iterator[CheckResult]:
    folder = settings.outbox.file.parent
    if not folder.is_dir():
        raise OutboxError(f"{folder}: no such folder for the outbox; create it for the user that runs the daemon, or change outbox.file")
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        raise OutboxError(f"{folder}: on a read-only file system; mount a writable partition there, or change outbox.file")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
    yield _ok("outbox", f"{settings.outbox.file}")


def _clock() -> Iterator[CheckResult]:
    match machine.clock_is_synchronized():
        case True:
            yield _ok("clock", "synchronized")
        case False:
            yield _warning("clock", "not synchronized: events carry wrong times and TLS may fail; see `timedatectl`")
        case None:
            yield _warning("clock", "synchronization unknown; see `timedatectl`")


def _disk(settings: Settings) -> Iterator[CheckResult]:
    for folder in sorted({settings.outbox.file.parent, settings.index.directory}):
        free_mb = machine.free_mb(folder)
        message = f"{folder}: {free_mb:.0f} MB free"
        if free_mb < FULL_DISK_MB:
            raise OutboxError(f"{message}, at least {FULL_DISK_MB} required; delete old releases or logs")
        yield _warning("disk", f"{message}; delete old releases or logs soon") if free_mb < LOW_DISK_MB else _ok("disk", message)
    if (warning := memory_storage(settings)) is not None:
        yield _warning("disk", warning)


def _temperature() -> Iterator[CheckResult]:
    temperatures = machine.temperatures_c()
    message = ", ".join(f"{name} {value:.0f} °C" for name, value in temperatures.items())
    if temperatures and max(temperatures.values()) >= THROTTLING_BEGINS_C:
        yield _warning("temperature", f"{message}: too hot; improve the cooling or add a fan")
    elif temperatures:
        yield _ok("temperature", message)
    if throttling := machine.throttling():
        yield _warning("power", f"{', '.join(throttling)}; use the 27 W power supply and a cooler")
