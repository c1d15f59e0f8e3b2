"""Adapters: one module per driver library, the only one that imports it."""

import os

# Without it ONNX Runtime (1.31) stores a device id and usage records in the home directory, to be sent to its vendor. Read at first import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
