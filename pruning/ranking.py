"""How many units every axis keeps: rankings, floors and budgets, pure numpy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from dgprune.errors import DgpruneError

Scores = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Ranking = Literal["global", "local", "isomorphic"]
RANKINGS: tuple[Ranking, ...] = get_args(Ranking)
AxisKind = Literal["width", "attention", "mlp"]
# Below this share of the MLP units, a budget cuts the width too. It and the square root that spares
# the attention are fitted on the source validation of PACS (docs/decisions/0006).
_WIDTH_STARTS_AT = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One prunable axis: a score per unit, the fewest units it keeps, and how many it once had.

    `dense` is more than there are scores where the model was pruned before: shares are of that.
    """

    name: str
    kind: AxisKind
    scores: Scores
    floor: int
    dense: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitScores:
    """Importance of every unit: width [D]; a block's attention [heads, dims] and MLP [units].

    A dimension of q and k and one of v can be chosen apart: `qk` and `value` score them. Criteria
    that score the group as a whole give both the same order. `width_after` [D] is there where a
    residual edge was missed: the score of the stream behind it, as `width` is of that before.
    """

    width: Scores
    qk: tuple[Scores, ...]
    value: tuple[Scores, ...]
    mlp: tuple[Scores, ...]
    width_after: Scores | None = None

    @property
    def whole_width(self) -> Scores:
        """The score of a channel of the stream on both sides of a missed edge."""
        return self.width if self.width_after is None else self.width + self.width_after


def keep_share(axes: Sequence[Axis], ranking: Ranking, ratio: float) -> list[int]:
    """Units that each axis keeps when the share `ratio` of all units goes.

    * global: one ranking of all units; scores are divided by the mean of their axis before they are
      compared, as torch-pruning does.
    * local: every axis loses the same share.
    * isomorphic: a ranking for each kind of axis over all blocks, without division by the mean, and
      every kind loses the same share (Fang et al. 2024).

    An axis at its floor gives nothing more; the next unit in its ranking goes instead. Raises
    DgpruneError, naming an axis, where the floors keep more than the ratio leaves.
    """
    kept = [0] * len(axes)
    for index in _rankings(axes, ranking):
        group = [axes[i] for i in index]
        remove = _surplus(group, 1 - ratio)
        _require_room(group, remove)
        for i, count in zip(index, _rank(group, ranking, remove), strict=True):
            kept[i] = count
    return kept


def keep_by_strength(axes: Sequence[Axis], ranking: Ranking, strength: float) -> list[int]:
    """Units that each axis keeps on the way to a budget, `strength` from 0 (all) to 1 (floors).

    Like `keep_share`, but a ranking that reached its floors stays there, and the isomorphic one
    gives each kind a budget of its own: of the share s of MLP units that stays, attention keeps
    the square root, and the width is spared until s is 1/4.
    """
    kept = [0] * len(axes)
    for index in _rankings(axes, ranking):
        group = [axes[i] for i in index]
        share = 1 - strength
        if ranking == "isomorphic":
            share = _share_of_kind(group[0].kind, share)
        room = sum(axis.scores.size - axis.floor for axis in group)
        remove = min(room, _surplus(group, share))
        for i, count in zip(index, _rank(group, ranking, remove), strict=True):
            kept[i] = count
    return kept


def _surplus(axes: Sequence[Axis], share: float) -> int:
    """Units that have to go for the share `share` of the dense ones to stay."""
    dense = sum(axis.dense for axis in axes)
    stays = dense - round((1 - share) * dense)
    return max(0, sum(axis.scores.size for axis in axes) - stays)


def _share_of_kind(kind: AxisKind, share: float) -> float:
    """What a kind of axis keeps where MLPs keep `share`: MLPs are cut most, the width least."""
    if kind == "width":
        return float(min(1.0, share / _WIDTH_STARTS_AT) ** (1 / 3))
    return float(share**0.5) if kind == "attention" else share


def _rankings(axes: Sequence[Axis], ranking: Ranking) -> list[list[int]]:
    """The axes that are ranked together, by index."""
    if ranking == "global":
        return [list(range(len(axes)))]
    if ranking == "local":
        return [[i] for i in range(len(axes))]
    kinds = ("width", "attention", "mlp")
    return [[i for i, axis in enumerate(axes) if axis.kind == kind] for kind in kinds]


def least_strength(cost: Callable[[float], float], budget: float) -> float:
    """The least strength, from 0 to 1, whose cost is at most `budget`, by bisection.

    Raises DgpruneError where even the floors cost more.
    """
    if cost(1.0) > budget:
        raise DgpruneError(
            f"the floors alone cost {cost(1.0):.3f} of the dense model, more than the budget "
            f"{budget:g}; raise the budget or lower the floors"
        )
    if cost(0.0) <= budget:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if cost(middle) <= budget else (middle, high)
    return high


def _divided_by_mean(scores: Scores) -> Scores:
    mean = scores.mean()
    return scores / mean if mean > 0 else np.ones_like(scores)


def _require_room(axes: Sequence[Axis], remove: int) -> None:
    total = sum(axis.scores.size for axis in axes)
    least = sum(axis.floor for axis in axes)
    if total - remove < least:
        tightest = max(axes, key=lambda axis: axis.floor)
        raise DgpruneError(
            f"--ratio leaves {total - remove} of {total} units, but the floors keep {least} "
            f"({tightest.floor} in {tightest.name}); lower the ratio or the floors"
        )


def _rank(axes: Sequence[Axis], ranking: Ranking, remove: int) -> list[int]:
    """Units kept by each axis when the lowest `remove` of all go, floors respected."""
    prepare = _divided_by_mean if ranking == "global" else np.asarray
    scores = np.concatenate([prepare(axis.scores) for axis in axes])
    kept = [axis.scores.size for axis in axes]
    owners = np.repeat(np.arange(len(axes)), kept)
    for owner in owners[np.argsort(scores, kind="stable")]:
        if remove == 0:
            break
        if kept[owner] > axes[owner].floor:
            kept[owner] -= 1
            remove -= 1
    return kept
