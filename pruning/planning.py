"""From scores to a plan: one global ranking with floors and alignment, pure numpy."""

from dataclasses import dataclass

import numpy as np

from dgprune.errors import DgpruneError
from pruning.plan import BlockPlan, Plan

Scores = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitScores:
    """Importance of every unit: width [D]; a block's attention [heads, dims] and MLP [units]."""

    width: Scores
    attention: tuple[Scores, ...]
    mlp: tuple[Scores, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The least that an axis keeps, and the multiple that its kept size is rounded to."""

    min_width: int = 16
    min_heads: int = 1
    min_head_dim: int = 8
    min_mlp: int = 8
    align_width: int = 8
    align_head_dim: int = 4
    align_mlp: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    name: str
    scores: Scores
    floor: int


def plan_globally(scores: UnitScores, ratio: float, limits: Limits) -> Plan:
    """Removes the share `ratio` of all units, lowest first, in one ranking over every axis.

    Scores are divided by the mean of their axis before they are compared, as torch-pruning does. An
    axis at its floor gives nothing more; the next unit in the ranking goes instead. Kept sizes are
    then rounded to the nearest multiple of the alignment. Ratio 0 keeps everything.

    Raises DgpruneError where the floors together keep more than the ratio leaves.
    """
    axes = _axes(scores, limits)
    kept = _kept_sizes(axes, ratio)
    if ratio == 0:
        limits = Limits(align_width=1, align_head_dim=1, align_mlp=1)
    width, *rest = kept
    return Plan(
        width=_best(scores.width, _aligned(width, limits.align_width, axes[0])),
        blocks=tuple(
            _plan_block(
                scores.attention[i],
                scores.mlp[i],
                rest[2 * i],
                rest[2 * i + 1],
                axes[2 * i + 2],
                limits,
            )
            for i in range(len(scores.mlp))
        ),
    )


def _axes(scores: UnitScores, limits: Limits) -> list[_Axis]:
    axes = [_axis("width", scores.width, limits.min_width)]
    for index, (attention, mlp) in enumerate(zip(scores.attention, scores.mlp, strict=True)):
        heads, dims = attention.shape
        floor = min(limits.min_heads, heads) * min(limits.min_head_dim, dims)
        axes.append(_axis(f"attention of block {index}", attention.reshape(-1), floor))
        axes.append(_axis(f"MLP of block {index}", mlp, limits.min_mlp))
    return axes


def _axis(name: str, scores: Scores, floor: int) -> _Axis:
    if not np.isfinite(scores).all():
        raise DgpruneError(
            f"the scores of {name} are not all numbers; score another model or criterion"
        )
    mean = scores.mean()
    normalised = scores / mean if mean > 0 else np.ones_like(scores)
    return _Axis(name=name, scores=normalised, floor=min(floor, scores.size))


def _kept_sizes(axes: list[_Axis], ratio: float) -> list[int]:
    sizes = [axis.scores.size for axis in axes]
    total = sum(sizes)
    to_remove = round(ratio * total)
    least = sum(axis.floor for axis in axes)
    if total - to_remove < least:
        tightest = max(axes, key=lambda axis: axis.floor)
        raise DgpruneError(
            f"--ratio {ratio} leaves {total - to_remove} of {total} units, "
            f"but the floors keep {least} "
            f"({tightest.floor} in {tightest.name}); lower the ratio"
        )
    owners = np.repeat(np.arange(len(axes)), sizes)
    order = np.argsort(np.concatenate([axis.scores for axis in axes]), kind="stable")
    kept = list(sizes)
    for owner in owners[order]:
        if to_remove == 0:
            break
        if kept[owner] > axes[owner].floor:
            kept[owner] -= 1
            to_remove -= 1
    return kept


def _aligned(kept: int, multiple: int, axis: _Axis) -> int:
    """The multiple nearest to `kept` that lies between the floor and the size of the axis."""
    if kept == axis.scores.size:
        return kept
    lowest = -(-axis.floor // multiple) * multiple
    return min(max(round(kept / multiple) * multiple, lowest), axis.scores.size)


def _best(scores: Scores, count: int) -> tuple[int, ...]:
    order = np.argsort(-scores, kind="stable")[:count]
    return tuple(int(i) for i in np.sort(order))


def _plan_block(
    attention: Scores,
    mlp: Scores,
    attention_kept: int,
    mlp_kept: int,
    mlp_axis: _Axis,
    limits: Limits,
) -> BlockPlan:
    heads, dims = heads_and_dims(attention.shape, attention_kept, limits)
    best_dims = [_best(row, dims) for row in attention]
    strength = np.asarray(
        [row[list(kept)].sum() for row, kept in zip(attention, best_dims, strict=True)]
    )
    kept_heads = _best(strength, heads)
    return BlockPlan(
        heads=kept_heads,
        head_dims=tuple(best_dims[head] for head in kept_heads),
        mlp=_best(mlp, _aligned(mlp_kept, limits.align_mlp, mlp_axis)),
    )


def heads_and_dims(shape: tuple[int, ...], kept: int, limits: Limits) -> tuple[int, int]:
    """Heads and dimensions a head whose product is nearest to `kept` attention channels.

    Dimensions are multiples of the alignment, or all of them; between equals the fewer, larger
    heads win, since attention kernels are fast on those.
    """
    heads, dims = shape
    allowed = [
        d
        for d in range(limits.align_head_dim, dims, limits.align_head_dim)
        if d >= limits.min_head_dim
    ]
    pairs = [
        (h, d) for h in range(min(limits.min_heads, heads), heads + 1) for d in [*allowed, dims]
    ]
    return min(pairs, key=lambda pair: (abs(pair[0] * pair[1] - kept), -pair[1]))
