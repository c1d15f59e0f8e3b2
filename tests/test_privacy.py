"""The scanner sends no data to third parties; neither do its libraries."""

import os
import subprocess
import sys

import pytest

from edge.recognition.model import find_model, open_model
from tests.support.paths import ROOT

RUN_MODEL = {
    "the scanner": "from edge.adapters import onnx; onnx.onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])",
    "a tool": "from pathlib import Path; from tools.network.onnx_file import OnnxFile; OnnxFile(Path(sys.argv[1]))",
}


@pytest.mark.parametrize("program", RUN_MODEL)
def test_a_model_runs_without_telemetry(program, tmp_path):
    """ONNX Runtime would write its telemetry below the home directory before it is sent."""
    model = open_model(find_model(None)).artifact_path("onnx")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    command = [sys.executable, "-c", f"import sys; {RUN_MODEL[program]}", str(model)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=120.0)
    assert list(tmp_path.rglob("*")) == []
