"""Pruning by dependency groups, and fine-tuning before and after it.

`from pruning import prune, finetune`: each takes frozen specs and a folder, as the commands do.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pruning.finetune_checkpoint import finetune as finetune
    from pruning.prune_checkpoint import prune as prune


def __getattr__(name: str) -> Any:
    """The functions above, imported when first asked for: torch takes a second."""
    if name == "prune":
        from pruning.prune_checkpoint import prune

        return prune
    if name == "finetune":
        from pruning.finetune_checkpoint import finetune

        return finetune
    raise AttributeError(f"module 'pruning' has no attribute {name!r}")
