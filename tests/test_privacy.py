"""What a scanner sees stays in the house; its libraries have nothing to tell either."""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
RUN_NETWORK = (
    "import sys; from edge.adapters import onnx; onnx.onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])"
)


def test_the_network_runs_without_telemetry(tmp_path):
    """ONNX Runtime's records would lie in the cache of the home, ready to be sent."""
    network = next((REPOSITORY / "hef").glob("*/model.onnx"))
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", RUN_NETWORK, str(network)], cwd=REPOSITORY, env=environment, check=True, timeout=120.0)
    assert list(tmp_path.rglob("*")) == []
