"""One file per driver library; a driver library is imported nowhere else."""

import os

# else ONNX Runtime (1.31) keeps a device id and records of its use in the home, to be sent to its maker; read when it is first imported
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
