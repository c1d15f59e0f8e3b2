"""``cardedge check``, the doctor: what works on this machine, what does not, and the next step.

Each examination answers with findings, never with an exception; one that fails does not keep the others from being made.
"""

import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Literal

import cv2

from edge import __version__
from edge.app.broker import probe_broker
from edge.app.camera import open_camera
from edge.app.network import open_network
from edge.errors import CameraError, EdgeError, ExitCode, ModelError, OutboxError
from edge.index.releases import open_index
from edge.recognition.embedding import ModelId
from edge.recognition.model import open_model, read_model_manifest
from edge.recognition.model_search import find_model
from edge.schema import Schema
from edge.settings.file import load_settings
from edge.settings.sections import Settings
from edge.system import machine
from edge.system.device_id import derive_device_id
from edge.system.npu import NpuReadings, concerns, described, slow_link
from edge.vision.frame import Frame

LIBRARIES: Final = ("numpy", "opencv-python-headless", "onnxruntime", "hnswlib", "paho-mqtt", "pydantic", "pillow", "python-ulid")
CAMERA_FRAMES: Final = 10
"""Enough for a camera's automatic exposure to settle somewhat."""

DARK, BRIGHT, BLURRED = 35.0, 225.0, 12.0
"""Mean grey levels, and variance of the Laplacian on a picture 640 wide, beyond which a technician should look. Coarse on purpose."""

LOW_DISK_MB, FULL_DISK_MB = 1000, 100
HOT_C: Final = 80.0
"""A Pi 5 begins to throttle at 80 °C (Raspberry Pi documentation, "Frequency management and thermal control")."""

RUNNING_ONLY: Final = {"camera", "broker", "clock", "temperature"}
"""Examinations that say nothing of a scanner at rest."""

Level = Literal["ok", "warn", "fail"]


class CheckResult(Schema):
    """One line of the doctor's report. ``exit_code`` is 0 unless the level is ``fail``."""

    check: str
    level: Level
    message: str
    exit_code: int = 0


Examination = Callable[[Settings], Iterator[CheckResult]]


def check_device(config: Path, *, at_rest: bool = False, index: Path | None = None) -> Iterator[CheckResult]:
    """Examine everything the settings in ``config`` name, one finding after the other as they come.

    ``at_rest`` leaves out what a running scanner holds (camera, NPU) or may lack for a while (broker), and judges no weather: it tells
    whether the program, the settings, the network and the cards fit together. ``index`` stands in for the index of the settings.
    """
    yield from _versions()
    try:
        settings = load_settings(config)
    except EdgeError as error:
        yield _failure("settings", error)
        return
    if index is not None:
        settings = settings.model_copy(update={"index": settings.index.model_copy(update={"directory": index})})
    examinations: dict[str, Examination] = {
        "settings": lambda settings: _settings(config, settings),
        "network": lambda settings: _network(settings, at_rest=at_rest),
        "index": _index,
        "camera": _camera,
        "broker": _broker,
        "outbox": _outbox,
        "clock": lambda _: _clock(),
        "disk": _disk,
        "temperature": lambda _: _temperature(),
    }
    for name, examine in examinations.items():
        if at_rest and name in RUNNING_ONLY:
            continue
        try:
            yield from examine(settings)
        except EdgeError as error:
            yield _failure(name, error)


def exit_code(findings: list[CheckResult]) -> ExitCode:
    """Return 0, or the status of the worst failure: wrong settings before bad data before a missing device."""
    failed = {finding.exit_code for finding in findings if finding.level == "fail"}
    order = (ExitCode.SOFTWARE, ExitCode.CONFIG, ExitCode.BAD_DATA, ExitCode.UNAVAILABLE)
    return next((code for code in order if code in failed), ExitCode.OK)


def describe(finding: CheckResult) -> str:
    """Say a finding in one line (more where the message has more)."""
    first, *rest = finding.message.splitlines()
    return "\n".join([f"{finding.level.upper():<5}{finding.check:<12}{first}", *(f"{'':17}{line}" for line in rest)])


def _failure(check: str, error: EdgeError) -> CheckResult:
    return CheckResult(check=check, level="fail", message=str(error), exit_code=error.exit_code)


def _ok(check: str, message: str) -> CheckResult:
    return CheckResult(check=check, level="ok", message=message)


def _warning(check: str, message: str) -> CheckResult:
    return CheckResult(check=check, level="warn", message=message)


def _versions() -> Iterator[CheckResult]:
    found = [f"cardedge {__version__}", f"Python {sys.version.split()[0]}"]
    for library in LIBRARIES:
        try:
            found.append(f"{library} {version(library)}")
        except PackageNotFoundError:
            yield _warning("versions", f"{library} is not installed as a package; run install.sh again")
    yield _ok("versions", ", ".join(found))


def _settings(config: Path, settings: Settings) -> Iterator[CheckResult]:
    yield _ok("settings", f"{config}; this is {settings.device.id or derive_device_id()}")


def _network(settings: Settings, *, at_rest: bool) -> Iterator[CheckResult]:
    folder = find_model(settings.network.model)
    model = open_model(folder)
    manifest = model.manifest
    yield _ok("model", f"{manifest.name} {manifest.model_id} in {folder}: all files are whole")
    views = ", ".join(f"{view.view} {100 * view.top1:.1f} %" for view in manifest.measured.views)
    yield _ok("training", manifest.training.note + (f"\nmeasured, first answer right: {views}" if views else ""))
    if at_rest and settings.network.backend == "hailo":
        yield _ok("backend", f"hailo: {model.artefact_path('hef').name} is there; the NPU itself was left alone")
        return
    with open_network(settings.network) as network:
        began_s = time.perf_counter()
        network.embedder.submit(network.model.golden_inputs[:1]).result(timeout=60.0)
        took_ms = 1000.0 * (time.perf_counter() - began_s)
        backend = settings.network.backend
        yield _ok("backend", f"{backend}: self-test passed (cosine {network.agreement:.4f}), {took_ms:.0f} ms for one picture")
        if network.npu is not None:
            yield from _npu(network.npu())


def _npu(readings: NpuReadings) -> Iterator[CheckResult]:
    yield _ok("npu", described(readings))
    for concern in (*concerns(readings), slow_link(readings)):
        if concern is not None:
            yield _warning("npu", concern)


def _index(settings: Settings) -> Iterator[CheckResult]:
    folder = settings.index.directory
    manifest = open_index(folder, expected_model_id=_known_model_id(settings)).manifest
    yield _ok("index", f"{manifest.name} {manifest.bundle_id}: {manifest.cards} cards, {manifest.entries} pictures")
    if manifest.entries == 0:
        yield _warning("index", f"{folder}: holds no card, so every card will be unknown; build a bundle with tools/build_index.py")
    elif manifest.calibration is None:
        yield _ok("thresholds", "the cautious defaults; not calibrated for this bundle: use tools/calibrate.py on the workstation")
    else:
        yield _ok("thresholds", f"calibrated: {manifest.calibration.source}")


def _known_model_id(settings: Settings) -> ModelId | None:
    """Return the network's id, if it can be known: that it cannot is a finding of its own."""
    try:
        return ModelId(read_model_manifest(find_model(settings.network.model)).model_id)
    except ModelError:
        return None


def _camera(settings: Settings) -> Iterator[CheckResult]:
    section = settings.camera
    bounds_s = section.open_timeout_s + section.read_timeout_s
    frames = 0
    began_s = time.monotonic()
    with open_camera(section, recover=False) as camera:
        frame = newest = camera.take(bounds_s)
        while newest is not None and frames < CAMERA_FRAMES:
            frame, frames = newest, frames + 1
            newest = camera.take(section.read_timeout_s)
    if frame is None:
        raise CameraError(f"{section.kind} {section.source}: no frame within {bounds_s:g} s; check cable and address")
    seconds = time.monotonic() - began_s
    yield _ok("camera", f"{section.kind} {section.source}: {frame.width}x{frame.height}, {frames} frames in {seconds:.1f} s")
    yield from _picture(frame)


def _picture(frame: Frame) -> Iterator[CheckResult]:
    """Judge one frame by coarse measures; a person should look at the picture when one is off."""
    grey = cv2.cvtColor(frame.pixels, cv2.COLOR_RGB2GRAY)
    grey = cv2.resize(grey, (640, max(1, round(640 * frame.height / frame.width))), interpolation=cv2.INTER_AREA)
    brightness, sharpness = float(grey.mean()), float(cv2.Laplacian(grey, cv2.CV_64F).var())
    said = f"brightness {brightness:.0f} of 255, sharpness {sharpness:.0f}"
    if brightness < DARK:
        yield _warning("picture", f"{said}: very dark; add light, take off the lens cap, or raise camera.exposure_us")
    elif brightness > BRIGHT:
        yield _warning("picture", f"{said}: washed out; lower camera.exposure_us or turn the light away")
    elif sharpness < BLURRED:
        yield _warning(
            "picture", f"{said}: blurred or empty; lay a card down, then set camera.lens_position_dioptres to 1 / distance in metres"
        )
    else:
        yield _ok("picture", said)


def _broker(settings: Settings) -> Iterator[CheckResult]:
    yield _ok("broker", f"{settings.mqtt.host}:{settings.mqtt.port}: {probe_broker(settings)}")


def _outbox(settings: Settings) -> Iterator[CheckResult]:
    folder = settings.outbox.file.parent
    if not folder.is_dir():
        raise OutboxError(f"{folder}: no such folder for the outbox; create it for the user that runs the daemon, or change outbox.file")
    yield _ok("outbox", f"{settings.outbox.file}")


def _clock() -> Iterator[CheckResult]:
    match machine.clock_is_synchronised():
        case True:
            yield _ok("clock", "follows a time server")
        case False:
            yield _warning("clock", "does not follow a time server: events carry wrong times and TLS may fail; see `timedatectl`")
        case None:
            yield _warning("clock", "cannot be asked; see `timedatectl`")


def _disk(settings: Settings) -> Iterator[CheckResult]:
    for folder in sorted({settings.outbox.file.parent, settings.index.directory}):
        free_mb = machine.free_mb(folder)
        said = f"{folder}: {free_mb:.0f} MB free"
        if free_mb < FULL_DISK_MB:
            raise OutboxError(f"{said}, at least {FULL_DISK_MB} needed; delete old releases or logs")
        yield _warning("disk", f"{said}; delete old releases or logs soon") if free_mb < LOW_DISK_MB else _ok("disk", said)


def _temperature() -> Iterator[CheckResult]:
    temperatures = machine.temperatures_c()
    said = ", ".join(f"{name} {value:.0f} °C" for name, value in temperatures.items())
    if temperatures and max(temperatures.values()) >= HOT_C:
        yield _warning("temperature", f"{said}: too hot; give the board air or a fan")
    elif temperatures:
        yield _ok("temperature", said)
    if held_back := machine.throttling():
        yield _warning("power", f"{', '.join(held_back)}; use the 27 W power supply and a cooler")
