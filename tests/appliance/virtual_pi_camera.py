"""A Debian with Picamera2 and libcamera's virtual camera, which shows images from files, and the control of that camera.

The files in ``virtual_camera/`` replace what a Pi has: memory heaps, a display library, a frame rate.
"""

import shutil
from pathlib import Path

import cv2
import numpy as np

from tests.support.debian_root import DebianRoot, architecture_of, debian_root

PACKAGES = ("python3-libcamera", "libcamera-ipa", "python3-venv", "python3-dev", "g++", "libcap-dev", "linux-libc-dev")
INSIDE = Path(__file__).resolve().parent / "virtual_camera"
FOLDER = "/opt/virtual-camera"
PROGRAM = "/opt/cardedge/bin/python"
ENVIRONMENT = {"LD_PRELOAD": f"{FOLDER}/kernel.so", "PYTHONPATH": FOLDER, "PYTHONFAULTHANDLER": "1", "LIBCAMERA_LOG_LEVELS": "*:ERROR"}
NUMBER = 1
"""Number of the camera under test. Camera 0 is always connected: libcamera 0.4 stops detecting virtual cameras once it has found none."""

CAMERA = """
"{name}":
  supported_formats:
  - {{width: 1280, height: 720, frame_rates: [30]}}
  {images}
  location: "CameraLocationExternal"
  model: "{name}"
"""
OTHER = CAMERA.format(name="wall", images='test_pattern: "bars"')
OURS = CAMERA.format(
    name="table", images=f"frames: {{path: '{FOLDER}/frames/'}}"
)  # cameras are numbered in descending order of their names


def camera_root(session_folder: Path) -> DebianRoot:
    """Return a Debian with this project, libcamera and Picamera2; trixie is the first whose libcamera has the virtual camera."""
    root = debian_root(session_folder, "trixie", architecture_of(), PACKAGES, name=f"trixie-{architecture_of()}-camera")
    root.install_project("picamera2")
    shutil.rmtree(root.at(FOLDER), ignore_errors=True)
    shutil.copytree(INSIDE, root.at(FOLDER))
    root.run(
        "/usr/bin/gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", f"{FOLDER}/kernel.so", f"{FOLDER}/kernel.c", "-ldl"
    )
    return root


class VirtualCamera:
    """Controls the virtual camera: sets its images, connects and disconnects it, stops its frames."""

    def __init__(self, root: DebianRoot) -> None:
        self._frames = root.at(f"{FOLDER}/frames")
        self._cameras = root.at("/usr/share/libcamera/pipeline/virtual/virtual.yaml")
        self._silent = root.at("/run/virtual-camera-silent")

    def show(self, image: np.ndarray, *, images: int = 6) -> None:
        """Set the image, RGB uint8, that the camera shows after it is opened next; ``images`` copies differ by sensor noise."""
        shutil.rmtree(self._frames, ignore_errors=True)
        self._frames.mkdir(parents=True)
        noise = np.random.default_rng(1)
        for number in range(images):
            noisy = np.clip(image + noise.normal(0, 2, image.shape), 0, 255).astype(np.uint8)
            cv2.imwrite(str(self._frames / f"{number}.jpg"), _with_planes_of_a_sensor(noisy), [cv2.IMWRITE_JPEG_QUALITY, 97])

    def plug_in(self) -> None:
        self._configure(OTHER + OURS)
        self._silent.unlink(missing_ok=True)

    def unplug(self) -> None:
        """Remove the camera from the list of cameras and stop its frames."""
        self._configure(OTHER)
        self.silence()

    def silence(self) -> None:
        """Stop the frames of the connected camera, as a loose ribbon cable does."""
        self._silent.touch()

    def _configure(self, cameras: str) -> None:
        self._cameras.parent.mkdir(parents=True, exist_ok=True)
        self._cameras.write_text(f"%YAML 1.1\n---{cameras}...\n")


def _with_planes_of_a_sensor(image: np.ndarray) -> np.ndarray:
    """Return a BGR image whose JPEG contains the limited-range YCbCr planes that a sensor delivers for ``image``.

    The virtual camera returns the planes of a JPEG unchanged, in full range (JFIF), and declares them as limited.
    """
    red, green, blue = (image[:, :, channel].astype(np.float32) for channel in range(3))
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    planes = (
        16 + 219 / 255 * luma,
        128 + 224 / 255 * 0.5 * (red - luma) / (1 - 0.299),
        128 + 224 / 255 * 0.5 * (blue - luma) / (1 - 0.114),
    )
    rounded = np.clip(np.dstack(planes), 0, 255).round().astype(np.uint8)
    return np.asarray(cv2.cvtColor(rounded, cv2.COLOR_YCrCb2BGR))
