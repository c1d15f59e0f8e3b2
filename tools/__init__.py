"""Scripts of the workstation: draw, train, build, evaluate, measure, push."""

import edge.adapters  # noqa: F401  # before any tool imports ONNX Runtime: its telemetry is off
