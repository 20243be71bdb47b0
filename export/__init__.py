"""From a checkpoint to the file that is shipped, with proof that it computes the same.

`from export import export_onnx`: takes a frozen spec and a folder, as the command does.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from export.onnx_export import export_onnx as export_onnx


def __getattr__(name: str) -> Any:
    """The function above, imported when first asked for: torch takes a second."""
    if name == "export_onnx":
        from export.onnx_export import export_onnx

        return export_onnx
    raise AttributeError(f"module 'export' has no attribute {name!r}")
