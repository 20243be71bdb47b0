"""What every part of the suite shares: structure, records, store, data, checkpoints, statistics."""

import os

__version__ = "0.1.0"

# ONNX Runtime's Linux wheels report home unless told otherwise before they are imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
