"""Who may import whom. The picture is in docs/architecture.md; these rules keep it true."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PURE_ROOMS = [
    "frame", "camera.frame_watch", "card", "camera.pixel_layout",
    "locating.contours", "locating.segments", "locating.outline", "locating.pose", "locating.guesses", "locating.choice",
    "locate", "locating.background",
    "artwork", "embedding", "projection", "vector_bytes", "neighbors", "gallery", "verification", "decision", "comparison",
    "collector_number", "number_band", "printing", "expectation", "evidence", "track", "event", "publishing.state",
]  # fmt: skip
"""In the order of the data: each may import only what stands to its left."""

FOUNDATION = {"edge", "edge.errors", "edge.schema"}
PURE_LIBRARIES = {
    "__future__", "collections", "dataclasses", "datetime", "enum", "functools", "itertools", "math", "re", "types", "typing",
    "cv2", "numpy", "pydantic",
}  # fmt: skip
IMPURE_CALLS = {
    "open", "print", "input", "np.load", "np.save", "np.fromfile", "np.memmap", "np.random.default_rng",
    "cv2.VideoCapture", "cv2.VideoWriter", "cv2.imread", "cv2.imwrite", "cv2.imshow",
    "datetime.now", "datetime.utcnow", "datetime.datetime.now", "date.today",
}  # fmt: skip
DRIVERS = {
    "cv2.VideoCapture": None,
    "onnxruntime": "onnx",
    "hnswlib": "hnsw",
    "rapidocr": "ocr",
    "paho": "mqtt",
    "picamera2": "picamera",
    "libcamera": "picamera",
    "hailo_platform": "hailo_device",
    "systemd": "systemd",
    "uvicorn": "http",
}
"""Driver library → the one adapter that may import it."""

WEB_LIBRARIES = {"fastapi", "starlette", "prometheus_client"}
"""Imported in ``web`` alone, which only the composition root and the server know: with the page switched off none of it is loaded."""

WORKSTATION_ONLY = {"torch", "torchvision", "timm", "daft", "ray", "tools", "tests", "tqdm", "onnx"}
STARTS_THE_DEMO = "cli"
"""It imports tools/ when the demo is asked for, which exists only in a clone."""

FAKES = "testing"
COMPOSITION = {"app", "wiring.camera", "wiring.index", "wiring.network"}
"""The composition root: what knows which adapter serves which port."""

COMMANDS = {
    "bundles.index_commands",
    "bundles.index_questions",
    "bundles.overlay_commands",
    "bundles.reembed_command",
    "check",
    "cli",
    "receiving.receive_commands",
}
RIGHT_OF = {
    "app": COMMANDS,
    "wiring.camera": {"app", *COMMANDS},
    "wiring.index": {"app", *COMMANDS},
    "wiring.network": {"app", "wiring.index", *COMMANDS},
    "receiving.receive_commands": {"bundles.index_commands"},
    "check": {"cli"},
    "bundles.index_questions": {"bundles.index_commands", "bundles.overlay_commands", "bundles.reembed_command"},
    "bundles.overlay_commands": {"bundles.index_commands"},
    "bundles.reembed_command": {"bundles.index_commands"},
    "bundles.index_commands": {"cli"},
    "cli": {"__main__"},
    "testing": set(),
}
"""Who may import what stands at the very right."""


def edge_files(root: Path = ROOT) -> list[Path]:
    return sorted((root / "edge").rglob("*.py"))


def room_of(path: Path) -> str:
    """``edge/vision/card.py`` is ``card``; ``edge/adapters/onnx.py`` is ``adapters.onnx``."""
    parts = path.with_suffix("").parts
    return ".".join(parts[parts.index("edge") + 1 :])


def imported(source: str) -> set[str]:
    """All modules a source names in import statements, wherever they stand; ``from edge import card`` counts as ``edge.vision.card``."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names.add(node.module)
            if node.module in {"edge", "edge.adapters"}:
                names.update(f"{node.module}.{alias.name}" for alias in node.names if alias.name.islower())
    return names


def called(source: str) -> set[str]:
    """The dotted names of everything a source calls or mentions as an attribute."""
    tree = ast.walk(ast.parse(source))
    return {ast.unparse(node.func) for node in tree if isinstance(node, ast.Call)}


def purity_breaches(room: str, source: str) -> list[str]:
    left = {f"edge.{name}" for name in PURE_ROOMS[: PURE_ROOMS.index(room)]}
    breaches = []
    for name in imported(source):
        top = name.partition(".")[0]
        allowed = name in FOUNDATION | left if top == "edge" else top in PURE_LIBRARIES
        if not allowed:
            breaches.append(f"{room} imports {name}")
    breaches += [f"{room} calls {name}" for name in called(source) & IMPURE_CALLS]
    return breaches


def driver_breaches(room: str, source: str) -> list[str]:
    breaches = []
    for name in imported(source):
        owner = DRIVERS.get(name.partition(".")[0])
        if owner and room != f"adapters.{owner}":
            breaches.append(f"{room} imports {name}, which only adapters.{owner} may")
    if any(name.endswith("VideoCapture") for name in called(source)) and not room.startswith("adapters."):
        breaches.append(f"{room} opens a cv2.VideoCapture, which only an adapter may")
    return breaches


def wiring_breaches(room: str, source: str) -> list[str]:
    breaches = []
    for name in imported(source):
        if name.startswith("edge.adapters") and room not in {*COMPOSITION, FAKES} and not room.startswith("adapters"):
            breaches.append(f"{room} imports {name}, which only the composition root may")
        if (name.partition(".")[0] in WEB_LIBRARIES or name.startswith("edge.web")) and not (
            room.startswith("web") or (name.startswith("edge.web") and room in {"app", "adapters.http", FAKES})
        ):
            breaches.append(f"{room} imports {name}, which only web may")
        if room not in RIGHT_OF.get(name.removeprefix("edge."), {room}):
            breaches.append(f"{room} imports {name}, which stands to its right")
        if name.partition(".")[0] in WORKSTATION_ONLY and not (room == STARTS_THE_DEMO and name == "tools"):
            breaches.append(f"{room} imports {name}, which a device does not have")
    return breaches


@pytest.mark.parametrize("room", PURE_ROOMS)
def test_pure_rooms_import_only_pure_things_and_only_leftwards(room):
    path = ROOT / "edge" / f"{room.replace('.', '/')}.py"
    assert purity_breaches(room, path.read_text()) == []


@pytest.mark.parametrize("path", edge_files(), ids=room_of)
def test_each_driver_library_has_one_adapter(path):
    assert driver_breaches(room_of(path), path.read_text()) == []


@pytest.mark.parametrize("path", edge_files(), ids=room_of)
def test_only_the_composition_root_knows_adapters_and_no_room_needs_a_workstation(path):
    assert wiring_breaches(room_of(path), path.read_text()) == []


def test_no_room_imports_in_a_circle():
    graph = {f"edge.{room_of(path)}": {name for name in imported(path.read_text()) if name.startswith("edge.")} for path in edge_files()}
    done: set[str] = set()

    def visit(room: str, way: tuple[str, ...]) -> None:
        assert room not in way, " → ".join((*way, room))
        if room not in done:
            for name in graph.get(room, ()):
                visit(name, (*way, room))
            done.add(room)

    for room in graph:
        visit(room, ())


@pytest.mark.parametrize(
    ("check", "room", "source", "breach"),
    [
        (purity_breaches, "card", "import os", "card imports os"),
        (purity_breaches, "card", "from pathlib import Path", "card imports pathlib"),
        (purity_breaches, "track", "def now():\n    import time", "track imports time"),
        (purity_breaches, "frame", "from edge.vision.card import Quad", "frame imports edge.vision.card"),
        (purity_breaches, "decision", "from edge import track", "decision imports edge.tracking.tracker"),
        (purity_breaches, "locate", "import cv2\ncv2.imread('a')", "locate calls cv2.imread"),
        (purity_breaches, "event", "from datetime import datetime\ndatetime.now()", "event calls datetime.now"),
        (driver_breaches, "card", "import hailo_platform", "card imports hailo_platform, which only adapters.hailo_device may"),
        (driver_breaches, "adapters.onnx", "import hnswlib", "adapters.onnx imports hnswlib, which only adapters.hnsw may"),
        (driver_breaches, "capture", "import cv2\ncv2.VideoCapture(0)", "capture opens a cv2.VideoCapture, which only an adapter may"),
        (
            wiring_breaches,
            "daemon",
            "from edge.adapters.mqtt import X",
            "daemon imports edge.adapters.mqtt, which only the composition root may",
        ),
        (wiring_breaches, "daemon", "from edge.app.daemon import X", "daemon imports edge.app.daemon, which stands to its right"),
        (wiring_breaches, "daemon", "from edge.app.network import X", "daemon imports edge.app.network, which stands to its right"),
        (wiring_breaches, "wiring.camera", "from edge.app.daemon import X", "wiring.camera imports edge.app.daemon, which stands to its right"),
        (wiring_breaches, "app", "from edge import cli", "app imports edge.cli.main, which stands to its right"),
        (wiring_breaches, "adapters.onnx", "from edge.testing import X", "adapters.onnx imports edge.testing, which stands to its right"),
        (wiring_breaches, "daemon", "from edge.web.live_state import X", "daemon imports edge.web.live_state, which only web may"),
        (wiring_breaches, "adapters.http", "import fastapi", "adapters.http imports fastapi, which only web may"),
        (driver_breaches, "web.page", "import uvicorn", "web.page imports uvicorn, which only adapters.http may"),
        (wiring_breaches, "pipeline", "import torch.nn", "pipeline imports torch.nn, which a device does not have"),
        (wiring_breaches, "pipeline", "import tools.training", "pipeline imports tools.training, which a device does not have"),
    ],
)
def test_a_planted_breach_is_found(check, room, source, breach):
    assert breach in check(room, source)
