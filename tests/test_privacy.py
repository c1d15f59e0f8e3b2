"""What a scanner sees stays in the house; its libraries have nothing to tell either."""

import os
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

RUN_NETWORK = {
    "the scanner": "from edge.adapters import onnx; onnx.onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])",
    "a tool": "from pathlib import Path; from tools.network.onnx_file import OnnxFile; OnnxFile(Path(sys.argv[1]))",
}


@pytest.mark.parametrize("program", RUN_NETWORK)
def test_the_network_runs_without_telemetry(program, tmp_path):
    """ONNX Runtime's records would lie in the cache of the home, ready to be sent."""
    network = next((ROOT / "hef").glob("*/model.onnx"))
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    command = [sys.executable, "-c", f"import sys; {RUN_NETWORK[program]}", str(network)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=120.0)
    assert list(tmp_path.rglob("*")) == []
