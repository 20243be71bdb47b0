"""From a checkpoint to the file that is shipped, with proof that it computes the same.

`from export import export_onnx`: `artefact = export_onnx(checkpoint, spec, out)`, and
`dgprune.open_runtime(artefact, runtime)` runs it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from export.export_checkpoint import export as export
    from export.export_checkpoint import export_onnx as export_onnx


def __getattr__(name: str) -> Any:
    """The functions above, imported when first asked for: torch takes a second."""
    if name in ("export", "export_onnx"):
        from export import export_checkpoint

        return getattr(export_checkpoint, name)
    raise AttributeError(f"module 'export' has no attribute {name!r}")
