"""Tools for the workstation: draw cards, train, build bundles, evaluate, measure, push."""

import edge.adapters  # noqa: F401  # before any tool imports ONNX Runtime: its telemetry is off
