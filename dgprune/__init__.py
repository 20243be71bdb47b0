"""What every part of the suite shares: structure, records, store, data, checkpoints, statistics.

`model = dgprune.load(folder)` gives a pruned model back, and `dgprune.timm_weights(folder)` its
weights under timm's names. `dgprune.open_runtime(artefact, spec)` runs an exported file.
"""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dgprune.checkpoint import load as load
    from dgprune.checkpoint import timm_weights as timm_weights
    from dgprune.runtimes.opening import open_runtime as open_runtime

__version__ = "0.1.0"

# ONNX Runtime's Linux wheels report home unless told otherwise before they are imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> Any:
    """The functions above, imported when first asked for: torch takes a second."""
    if name in ("load", "timm_weights"):
        from dgprune import checkpoint

        return getattr(checkpoint, name)
    if name == "open_runtime":
        from dgprune.runtimes.opening import open_runtime

        return open_runtime
    raise AttributeError(f"module 'dgprune' has no attribute {name!r}")
