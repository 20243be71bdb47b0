"""From scores to a plan: a ranking decides how much each axis keeps, its scores decide what."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from dgprune.errors import DgpruneError, require_between
from dgprune.structure import Structure, cost_of
from pruning.plan import BlockPlan, Plan, planned
from pruning.ranking import Axis, Ranking, Scores, keep_by_strength, keep_share, least_strength

BudgetKind = Literal["ratio", "macs", "params"]
_CLOSE = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What the plan must meet: the share of units that goes, or the share of the cost that stays.

    `macs` and `params` are kept fractions, met within `tolerance` of the cost from below.
    """

    kind: BudgetKind
    value: float
    tolerance: float = 0.02

    def __post_init__(self) -> None:
        if self.kind == "ratio" and not 0 <= self.value < 1:
            raise DgpruneError(
                f"--ratio {self.value} is outside [0, 1); 0.5 removes half of the units"
            )
        if self.kind != "ratio":
            require_between(f"--{self.kind}", self.value, 1e-6, 1)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The least that an axis keeps, and the multiple that its kept size is rounded to.

    A `min_width` of 0 stands for a quarter of the dense width.
    """

    min_width: int = 16
    min_heads: int = 1
    min_head_dim: int = 8
    min_mlp: int = 8
    align_width: int = 8
    align_head_dim: int = 4
    align_mlp: int = 8

    def __post_init__(self) -> None:
        for name in self.__slots__:
            least = 0 if name == "min_width" else 1
            require_between(name, getattr(self, name), least, 1e6)


def make_plan(
    scores: UnitScores, structure: Structure, ranking: Ranking, budget: Budget, limits: Limits
) -> Plan:
    """The plan that meets `budget` under `ranking`; kept sizes are multiples of the alignment.

    Ratio 0 keeps everything. Raises DgpruneError where the budget cannot be met.
    """
    axes = _axes(scores, limits)
    if budget.kind == "ratio":
        if budget.value == 0:
            limits = replace(limits, align_width=1, align_head_dim=1, align_mlp=1)
        return _plan(scores, axes, keep_share(axes, ranking, budget.value), limits)

    kept = _kept_cost(structure, budget.kind)
    plan = _meet(_Search(scores, axes, ranking, limits), kept, budget.value)
    if kept(plan) < budget.value - budget.tolerance:
        raise DgpruneError(
            f"the nearest plan keeps {kept(plan):.3f} of the {budget.kind}, more than "
            f"{budget.tolerance:.1%} under {budget.value:g}; "
            "choose a finer --align or a higher budget"
        )
    return plan


def plan_for_time(
    scores: UnitScores,
    structure: Structure,
    ranking: Ranking,
    limits: Limits,
    relative_time: Callable[[Structure], float],
    most: float,
) -> Plan:
    """The plan whose time, as a share of the dense model's, is nearest to `most` from below."""

    def kept(plan: Plan) -> float:
        return relative_time(_structure_of(plan, structure))

    return _meet(_Search(scores, _axes(scores, limits), ranking, limits), kept, most)


@dataclass(frozen=True, slots=True)
class _Search:
    """Plans by strength, with the width of another one where it is given."""

    scores: UnitScores
    axes: list[Axis]
    ranking: Ranking
    limits: Limits

    def at(self, strength: float, width: int | None = None) -> Plan:
        kept = keep_by_strength(self.axes, self.ranking, strength)
        if width is not None:
            kept[0] = width
        return _plan(self.scores, self.axes, kept, self.limits)

    def nearest(
        self, kept: Callable[[Plan], float], budget: float, width: int | None = None
    ) -> Plan:
        """The plan of the least strength whose cost is at most `budget`."""
        return self.at(least_strength(lambda s: kept(self.at(s, width)), budget), width)


def _meet(search: _Search, kept: Callable[[Plan], float], budget: float) -> Plan:
    """The plan whose cost is nearest to the budget from below.

    One step of the width's alignment can be a sixth of the cost. So beside the plan that bisection
    finds, its width and the next larger one are held, and the inner axes meet the budget alone.
    """
    best = search.nearest(kept, budget)
    for width in (len(best.width), len(best.width) + search.limits.align_width):
        if kept(best) >= budget - _CLOSE or width > search.axes[0].scores.size:
            continue
        if kept(search.at(1.0, width)) <= budget:
            best = max(best, search.nearest(kept, budget, width), key=kept)
    return best


def _kept_cost(structure: Structure, kind: BudgetKind) -> Callable[[Plan], float]:
    """The share of the dense cost that a plan keeps."""
    name = "macs_per_image" if kind == "macs" else "parameters"
    dense = getattr(cost_of(structure), name)

    def kept(plan: Plan) -> float:
        return float(getattr(cost_of(_structure_of(plan, structure)), name) / dense)

    return kept


def _structure_of(plan: Plan, structure: Structure) -> Structure:
    width, blocks = planned(plan, structure)
    return replace(structure, embed_dim=width, blocks=blocks)


def _axes(scores: UnitScores, limits: Limits) -> list[Axis]:
    least = limits.min_width or -(-scores.width.size // 4)
    axes = [_axis("width", scores.whole_width, least, "width")]
    for index, (qk, value, mlp) in enumerate(zip(scores.qk, scores.value, scores.mlp, strict=True)):
        heads, dims = qk.shape
        floor = min(limits.min_heads, heads) * min(limits.min_head_dim, dims)
        attention = (qk + value).reshape(-1)
        axes.append(_axis(f"attention of block {index}", attention, floor, "attention"))
        axes.append(_axis(f"MLP of block {index}", mlp, limits.min_mlp, "mlp"))
    return axes


def _axis(
    name: str, scores: Scores, floor: int, kind: Literal["width", "attention", "mlp"]
) -> Axis:
    if not np.isfinite(scores).all():
        raise DgpruneError(
            f"the scores of {name} are not all numbers; score another model or criterion"
        )
    return Axis(name=name, kind=kind, scores=scores, floor=min(floor, scores.size))


def _plan(scores: UnitScores, axes: list[Axis], kept: list[int], limits: Limits) -> Plan:
    width, *inner = kept
    blocks = []
    for index in range(len(scores.mlp)):
        attention_kept, mlp_kept = inner[2 * index : 2 * index + 2]
        heads, dims = heads_and_dims(scores.qk[index].shape, attention_kept, limits)
        mlp = _aligned(mlp_kept, limits.align_mlp, axes[2 * index + 2])
        blocks.append(_plan_block(scores, index, (heads, dims, mlp)))
    width = _aligned(width, limits.align_width, axes[0])
    after = () if scores.width_after is None else _best(scores.width_after, width)
    return Plan(width=_best(scores.width, width), blocks=tuple(blocks), width_after=after)


def _plan_block(scores: UnitScores, index: int, sizes: tuple[int, int, int]) -> BlockPlan:
    """The best `sizes` (heads, dimensions a head, MLP units) of one block."""
    heads, dims, units = sizes
    qk, value = scores.qk[index], scores.value[index]
    best_qk, best_value = ([_best(row, dims) for row in part] for part in (qk, value))
    strength = np.asarray(
        [
            qk[head][list(best_qk[head])].sum() + value[head][list(best_value[head])].sum()
            for head in range(len(qk))
        ]
    )
    kept = _best(strength, heads)
    return BlockPlan(
        heads=kept,
        qk_dims=tuple(best_qk[head] for head in kept),
        value_dims=tuple(best_value[head] for head in kept),
        mlp=_best(scores.mlp[index], units),
    )


def _aligned(kept: int, multiple: int, axis: Axis) -> int:
    """The multiple nearest to `kept` that lies between the floor and the size of the axis."""
    if kept == axis.scores.size:
        return kept
    lowest = -(-axis.floor // multiple) * multiple
    return min(max(round(kept / multiple) * multiple, lowest), axis.scores.size)


def _best(scores: Scores, count: int) -> tuple[int, ...]:
    order = np.argsort(-scores, kind="stable")[:count]
    return tuple(int(i) for i in np.sort(order))


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
