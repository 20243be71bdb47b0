"""Kept sizes that are multiples: what an axis keeps where its plan asks for any number of units."""

from collections.abc import Sequence

from dgprune.errors import DgpruneError
from pruning.budgets import Limits
from pruning.ranking import Axis, UnitScores


def aligned(kept: int, multiple: int, axis: Axis) -> int:
    """The multiple nearest to `kept` that lies between the floor and the size of the axis."""
    if kept == axis.scores.size:
        return kept
    lowest = -(-axis.floor // multiple) * multiple
    return min(max(round(kept / multiple) * multiple, lowest), axis.scores.size)


def heads_and_dims(shape: tuple[int, ...], kept: int, limits: Limits) -> tuple[int, int]:
    """Heads and dimensions a head whose product is nearest to `kept` attention channels.

    Dimensions are multiples of the alignment, or all of them; between equals the fewer, larger
    heads win, since attention kernels are fast on those.
    """
    heads, dims = shape
    step, least = limits.align_head_dim, limits.min_head_dim
    allowed = [d for d in range(step, dims, step) if d >= least]
    fewest = min(limits.min_heads, heads)
    pairs = [(h, d) for h in range(fewest, heads + 1) for d in [*allowed, dims]]
    return min(pairs, key=lambda pair: (abs(pair[0] * pair[1] - kept), -pair[1]))


def require_multiples(
    axes: Sequence[Axis], wanted: Sequence[int], scores: UnitScores, limits: Limits
) -> None:
    """Raises DgpruneError where an axis is to lose units and is smaller than its multiple.

    It would stay whole without a word. `wanted` are the units that each axis keeps before they are
    made multiples; a block with heads to give may keep dimensions that are fewer than theirs.
    """
    for place, (axis, kept) in enumerate(zip(axes, wanted, strict=True)):
        size, option = axis.scores.size, str(axis.kind)
        if axis.kind == "attention":
            heads, size = scores.qk[(place - 1) // 2].shape
            if heads > limits.min_heads:
                continue
            option = "head_dim"
        multiple = getattr(limits, f"align_{option}")
        if kept < axis.scores.size and multiple > size:
            units = "dimensions" if option == "head_dim" else "units"
            raise DgpruneError(
                f"{axis.name} has {size} {units}, fewer than the multiple {multiple} that it may "
                f"keep, so that none could go; pass --align {option}=N with an N below {size}"
            )
