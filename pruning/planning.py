"""From scores to a plan: a ranking decides how much each axis keeps, its scores decide what."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from dgprune.errors import DgpruneError
from dgprune.structure import Structure, cost_of
from pruning.aligning import aligned, heads_and_dims, require_multiples
from pruning.budgets import Budget, BudgetKind, Limits
from pruning.plan import BlockPlan, Plan, everything, planned
from pruning.ranking import (
    Axis,
    AxisKind,
    Ranking,
    Scores,
    UnitScores,
    keep_by_strength,
    keep_share,
    least_strength,
)

_CLOSE, _CLOSE_SHARE = 0.02, 0.04  # of the dense cost and of the budget: what is near enough


def make_plan(
    scores: UnitScores,
    structure: Structure,
    ranking: Ranking,
    budget: Budget,
    limits: Limits,
    dense: Structure | None = None,
) -> Plan:
    """The plan that meets `budget` under `ranking`; kept sizes are multiples of the alignment.

    The budget is a share of `dense`, which is `structure` itself where it is None. Ratio 0 keeps
    everything. Raises DgpruneError where the budget cannot be met.
    """
    dense = dense or structure
    axes = _axes(scores, limits, dense)
    if budget.kind == "ratio":
        if budget.value == 0:
            limits = replace(limits, align_width=1, align_head_dim=1, align_mlp=1)
        wanted = keep_share(axes, ranking, budget.value)
        require_multiples(axes, wanted, scores, limits)
        return _plan(scores, axes, wanted, limits)

    kept = _kept_cost(structure, dense, budget.kind)
    plan = _meet(_Search(scores, axes, ranking, limits), kept, budget.value)
    if kept(plan) < budget.not_below:
        return everything(structure)
    if kept(plan) < budget.value - budget.tolerance:
        raise DgpruneError(
            f"the nearest plan keeps {kept(plan):.3f} of the {budget.kind}, more than "
            f"{budget.tolerance:.1%} under {budget.value:g}; "
            "choose a finer --align or a higher budget"
        )
    return plan


def shortfall(
    plan: Plan, structure: Structure, budget: Budget, dense: Structure | None = None
) -> str | None:
    """A line where `plan`, made by `make_plan`, keeps clearly less than its cost budget allows.

    None where it is met within 4 % of itself, and for a budget that another step has to meet.
    """
    if budget.kind == "ratio" or budget.not_below:
        return None
    kept = _kept_cost(structure, dense or structure, budget.kind)(plan)
    if kept >= (1 - _CLOSE_SHARE) * budget.value:
        return None
    return (
        f"the nearest plan keeps {kept:.4f} of the {budget.kind}, {kept / budget.value:.0%} of the "
        f"{budget.value:g} that --{budget.kind} allows; a finer --align or another --ranking may "
        "come nearer"
    )


def plan_for_time(
    scores: UnitScores,
    structure: Structure,
    ranking: Ranking,
    limits: Limits,
    relative_time: Callable[[Structure], float],
    most: float,
) -> Plan:
    """The plan whose time, as a share of the dense model's, is nearest to `most` from below.

    Where the floors alone take longer than that, the plan of the floors.
    """
    search = _Search(scores, _axes(scores, limits, structure), ranking, limits)

    def kept(plan: Plan) -> float:
        return relative_time(structure_after(plan, structure))

    floors = search.at(1.0)
    return floors if kept(floors) >= most else _meet(search, kept, most)


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
        """The plan of the least strength whose cost is at most `budget`.

        Raises DgpruneError where that strength takes units of an axis that can give none.
        """
        strength = least_strength(lambda s: kept(self.at(s, width)), budget)
        wanted = keep_by_strength(self.axes, self.ranking, strength)
        if width is not None:
            wanted[0] = width
        require_multiples(self.axes, wanted, self.scores, self.limits)
        return self.at(strength, width)


def _meet(search: _Search, kept: Callable[[Plan], float], budget: float) -> Plan:
    """The plan whose cost is nearest to the budget from below.

    One step of the width's alignment can be a sixth of the cost. So beside the plan that bisection
    finds, its width and the next larger one are held, and the inner axes meet the budget alone.
    """
    enough = budget - min(_CLOSE, _CLOSE_SHARE * budget)
    best = search.nearest(kept, budget)
    for width in (len(best.width), len(best.width) + search.limits.align_width):
        if kept(best) >= enough or width > search.axes[0].scores.size:
            continue
        if kept(search.at(1.0, width)) <= budget:
            best = max(best, search.nearest(kept, budget, width), key=kept)
    return best


def _kept_cost(structure: Structure, dense: Structure, kind: BudgetKind) -> Callable[[Plan], float]:
    """The share of the dense cost that a plan for `structure` keeps."""
    name = "macs_per_image" if kind == "macs" else "parameters"
    whole = getattr(cost_of(dense), name)

    def kept(plan: Plan) -> float:
        return float(getattr(cost_of(structure_after(plan, structure)), name) / whole)

    return kept


def structure_after(plan: Plan, structure: Structure) -> Structure:
    """What `plan` leaves of `structure`."""
    width, blocks = planned(plan, structure)
    return replace(structure, embed_dim=width, blocks=blocks)


def _axes(scores: UnitScores, limits: Limits, dense: Structure) -> list[Axis]:
    least = limits.min_width or -(-dense.embed_dim // 4)
    axes = [_axis("width", scores.whole_width, least, "width", dense.embed_dim)]
    for index, (qk, value, mlp) in enumerate(zip(scores.qk, scores.value, scores.mlp, strict=True)):
        heads, dims = qk.shape
        floor = min(limits.min_heads, heads) * min(limits.min_head_dim, dims)
        attention = (qk + value).reshape(-1)
        whole = dense.blocks[index]
        name = f"attention of block {index}"
        axes.append(_axis(name, attention, floor, "attention", whole.attention_dim))
        axes.append(_axis(f"MLP of block {index}", mlp, limits.min_mlp, "mlp", whole.mlp_hidden))
    return axes


def _axis(name: str, scores: Scores, floor: int, kind: AxisKind, dense: int) -> Axis:
    if not np.isfinite(scores).all():
        raise DgpruneError(
            f"the scores of {name} are not all numbers; score another model or criterion"
        )
    return Axis(name=name, kind=kind, scores=scores, floor=min(floor, scores.size), dense=dense)


def _plan(scores: UnitScores, axes: list[Axis], kept: list[int], limits: Limits) -> Plan:
    width, *inner = kept
    blocks = []
    for index in range(len(scores.mlp)):
        attention_kept, mlp_kept = inner[2 * index : 2 * index + 2]
        heads, dims = heads_and_dims(scores.qk[index].shape, attention_kept, limits)
        mlp = aligned(mlp_kept, limits.align_mlp, axes[2 * index + 2])
        blocks.append(_plan_block(scores, index, (heads, dims, mlp)))
    width = aligned(width, limits.align_width, axes[0])
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


def _best(scores: Scores, count: int) -> tuple[int, ...]:
    order = np.argsort(-scores, kind="stable")[:count]
    return tuple(int(i) for i in np.sort(order))


def equal_scores(structure: Structure) -> UnitScores:
    """A score of one for every unit: enough to see whether a budget can be met."""
    heads = tuple(np.ones((block.num_heads, block.head_dim)) for block in structure.blocks)
    mlp = tuple(np.ones(block.mlp_hidden) for block in structure.blocks)
    return UnitScores(width=np.ones(structure.embed_dim), qk=heads, value=heads, mlp=mlp)
