"""What Import Linter cannot see: calls in pure modules, and a driver library that is loaded by name."""

import ast

import pytest

from tests.support.paths import ROOT

PURE = [
    "vision", "tracking", "recognition", "camera/frame_checks.py", "camera/pixel_formats.py",
    "publishing/event.py", "publishing/state.py",
]  # fmt: skip
READS_FILES = {"vision/image_file.py", "recognition/model.py"}
FORBIDDEN_CALLS = {
    "open", "print", "input", "np.load", "np.save", "np.fromfile", "np.memmap", "np.random.default_rng",
    "cv2.VideoCapture", "cv2.VideoWriter", "cv2.imread", "cv2.imwrite", "cv2.imshow",
    "datetime.now", "datetime.utcnow", "datetime.datetime.now", "date.today",
}  # fmt: skip


def sources(*places):
    paths = [ROOT / "edge" / place for place in places]
    return sorted(file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path]))


def name_of(path):
    return path.relative_to(ROOT / "edge").as_posix()


def called(source):
    return {ast.unparse(node.func) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)}


@pytest.mark.parametrize("path", [path for path in sources(*PURE) if name_of(path) not in READS_FILES], ids=name_of)
def test_a_pure_module_reads_no_file_clock_or_camera(path):
    assert called(path.read_text()) & FORBIDDEN_CALLS == set()


@pytest.mark.parametrize("path", sources("."), ids=name_of)
def test_drivers_without_an_import_statement_have_one_adapter(path):
    source = path.read_text()
    assert ('"hailo_platform"' in source) <= (name_of(path) == "adapters/hailo_device.py")
    assert not any(name.endswith("VideoCapture") for name in called(source)) or name_of(path).startswith("adapters/")


def test_a_planted_call_is_found():
    assert called("cv2.imread(datetime.now())") & FORBIDDEN_CALLS == {"cv2.imread", "datetime.now"}
