"""Images with a domain and a class: opened, split, and loaded under the leak guard."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dgprune.data.dataset import DataSet, Sample, open_data
    from dgprune.data.images import Images, Loading, load_images
    from dgprune.data.leaks import Purpose
    from dgprune.data.preprocessing import Preprocessing, to_input
    from dgprune.data.split import Split, leave_one_out, paper_like

__all__ = [
    "DataSet",
    "Images",
    "Loading",
    "Preprocessing",
    "Purpose",
    "Sample",
    "Split",
    "leave_one_out",
    "load_images",
    "open_data",
    "paper_like",
    "to_input",
]
_FROM = {
    "dataset": ("DataSet", "Sample", "open_data"),
    "images": ("Images", "Loading", "load_images"),
    "leaks": ("Purpose",),
    "preprocessing": ("Preprocessing", "to_input"),
    "split": ("Split", "leave_one_out", "paper_like"),
}


def __getattr__(name: str) -> Any:
    """The names above, imported when first asked for: `dgprune --help` needs no numpy."""
    for module, names in _FROM.items():
        if name in names:
            return getattr(import_module(f"dgprune.data.{module}"), name)
    raise AttributeError(f"module 'dgprune.data' has no attribute {name!r}")
