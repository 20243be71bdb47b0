"""The budget `--speedup S`, or `--latency-ms B`: cut until the shipped file measures that fast.

A latency table (`dgprune.latency_table`) says where to look; what counts is a measurement of the
plan itself, exported and timed against the dense model in one run.
"""

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dgprune.environment import current_environment
from dgprune.errors import DgpruneError
from dgprune.latency_table import (
    LEAST_MLP,
    LatencyTable,
    Measurements,
    Shares,
    Timed,
    kept_units,
    open_measurements,
)
from dgprune.models import structure_of
from dgprune.progress import SILENT, Progress
from dgprune.reached import Reached, save_reached
from dgprune.schema import Json, digest, encode
from dgprune.source import SourceSpec, open_source
from dgprune.stage import Done
from dgprune.store import store_at
from dgprune.structure import Structure
from pruning.plan import BlockPlan, Plan
from pruning.planning import plan_for_time, structure_after
from pruning.prune_checkpoint import Given, Images, label_after, prune, score_units
from pruning.ranking import UnitScores
from pruning.shipped import Aim, Invoke, Shipped
from pruning.spec import PruneSpec

_ROUNDS = 12
_CLOSE = 1.03
_DENSE = "latency of the given model, ms"


def prune_to_speedup(
    source_spec: SourceSpec,
    spec: PruneSpec,
    aim: Aim,
    out: Path,
    invoke: Invoke,
    progress: Progress = SILENT,
) -> Done:
    """A pruned checkpoint whose file measured at least as fast as `aim` says, and what it reached.

    The speedup is over the model that is given. `invoke` runs another command in this process.
    Raises DgpruneError where the floors of the spec do not let any plan be that fast.
    """
    source = open_source(source_spec)
    with store_at(out), tempfile.TemporaryDirectory(prefix="dgprune-") as folder:
        model = source.load()
        structure = structure_of(model, source.origin.model)
        measurements = open_measurements(_key(structure, aim))
        images = Images(source=source, skip=source_spec.skip_bad_images, progress=progress)
        shipped = Shipped(
            source=source_spec, dense=structure, aim=aim, folder=Path(folder), invoke=invoke
        )
        dense_ms = None if aim.latency_ms is None else _dense_ms(shipped, measurements, progress)
        if dense_ms is not None:
            aim = shipped.aim = aim.over(dense_ms)
        search = Search(
            scores=score_units(model, images, spec),
            spec=spec,
            shipped=shipped,
            measurements=measurements,
            progress=progress,
        )
        plan, measured = search.run()
        given = Given(
            plan=plan,
            label=label_after(source.label, spec.label_for(aim.budget)),
            asked={**spec.asked_of_plan(), **aim.asked()},
        )
        done = prune(source_spec, spec, out, progress, given)
        reached = _reached(aim, measured, dense_ms)
        save_reached(done.path, reached)
    summary: Json = {
        **done.summary,
        "measured_speedup": encode(measured.interval),
        "reached": reached.text,
        **aim.asked(),
    }
    return Done(path=done.path, fresh=done.fresh, summary=summary)


def _dense_ms(shipped: Shipped, measurements: Measurements, progress: Progress) -> float:
    """Median latency of the given model, in milliseconds."""
    timed = measurements.of(_DENSE, shipped.dense_ms)
    progress.line(f"the given model: {timed.interval.estimate:.3g} ms{_told(timed)}")
    return timed.interval.estimate


def _reached(aim: Aim, measured: Timed, dense_ms: float | None) -> Reached:
    interval = measured.interval
    return Reached(
        runtime=aim.runtime,
        batch_size=aim.batch_size,
        threads=aim.threads,
        tier=aim.tier,
        low=interval.low,
        estimate=interval.estimate,
        high=interval.high,
        latency_ms=dense_ms / interval.estimate if dense_ms is not None else None,
        doubt=measured.doubt,
    )


def _told(timed: Timed) -> str:
    return "" if timed.doubt is None else f" (no verdict, so it is not kept: {timed.doubt})"


def _key(dense: Structure, aim: Aim) -> str:
    """What a measured speedup depends on, besides the plan."""
    measured_by = {**aim.asked(), "speedup": None}
    measured_by.pop("latency_ms", None)
    return digest([encode(dense), measured_by, encode(current_environment())])


@dataclass(frozen=True, kw_only=True)
class Search:
    """Looks for the least cut that measures fast enough."""

    scores: UnitScores
    spec: PruneSpec
    shipped: Shipped
    measurements: Measurements
    progress: Progress = SILENT

    def run(self) -> tuple[Plan, Timed]:
        """The plan nearest to the aim among those that reached it, and its measured speedup.

        The table is asked for a goal; a goal whose plan measures too slow is the new lower end, one
        that is fast enough the upper, and the next lies between.
        """
        wanted = goal = self.shipped.aim.speedup
        table = LatencyTable(
            measurements=self.measurements, dense=self.shipped.dense, measure=self._measure_cell
        )
        low, high = 1.0, math.inf
        seen: dict[Plan, Timed] = {}
        for _ in range(_ROUNDS):
            plan = self._plan(table, goal)
            known = plan in seen
            seen[plan] = seen[plan] if known else self._measure(plan)
            measured = seen[plan].interval
            if wanted <= measured.estimate <= wanted * _CLOSE:
                break
            if measured.estimate < wanted:
                if plan == self._plan(table, math.inf):
                    break  # the floors: nothing is faster
                low = max(low, goal)
            else:
                high = min(high, goal)
            guess = goal * wanted * (1 + _CLOSE) / 2 / measured.estimate
            if known or not low < guess < high:
                guess = math.sqrt(low * high) if high < math.inf else 1.25 * low
            goal = guess
        return self._nearest(seen)

    def _nearest(self, seen: Mapping[Plan, Timed]) -> tuple[Plan, Timed]:
        wanted = self.shipped.aim.speedup
        estimates = {plan: timed.interval.estimate for plan, timed in seen.items()}
        reached = [(estimate, plan) for plan, estimate in estimates.items() if estimate >= wanted]
        if not reached:
            fastest = max(estimates.values())
            raise DgpruneError(
                f"{self.shipped.aim.option}: the fastest of {len(seen)} measured plans reached "
                f"{fastest:.2f}x; ask for less, lower the floors (--floor, --align), or remove "
                f"{self.measurements.path} to measure again"
            )
        estimate, plan = min(reached, key=lambda pair: pair[0])
        if estimate > wanted * _CLOSE:
            self.progress.line(
                f"none of the {len(seen)} measured plans lies between {wanted:.3g}x and "
                f"{estimate:.2f}x; finer steps of --align leave more plans to find"
            )
        if seen[plan].interval.low < wanted:
            self.progress.line(f"the interval of {estimate:.2f}x reaches below {wanted:.3g}x")
        return plan, seen[plan]

    def _plan(self, table: LatencyTable, goal: float) -> Plan:
        spec, dense = self.spec, self.shipped.dense
        return plan_for_time(
            self.scores, dense, spec.ranking, spec.limits, table.relative_time, 1 / goal
        )

    def _measure(self, plan: Plan) -> Timed:
        """Speedup of the structure that `plan` leaves: which units they were does not matter."""
        name = digest(encode(structure_after(plan, self.shipped.dense)))
        measured = self.measurements.of(name, lambda: self.shipped.speedup(plan))
        found = measured.interval
        self.progress.line(
            f"measured {found.estimate:.2f}x [{found.low:.2f}, {found.high:.2f}]{_told(measured)}"
        )
        return measured

    def _measure_cell(self, shares: Shares) -> Timed:
        told = f"width {shares.width:g}, heads {shares.heads:g}, MLP {shares.mlp:g}"
        self.progress.line(f"latency table: {told} of the dense model")
        measured = self.shipped.speedup(uniform_plan(self.shipped.dense, shares))
        if measured.doubt is not None:
            self.progress.line(f"measured {measured.interval.estimate:.2f}x{_told(measured)}")
        return measured


def uniform_plan(dense: Structure, shares: Shares) -> Plan:
    """The plan that keeps the same shares in every block: at least a head and 8 MLP units."""

    def first(size: int, share: float, least: int = 1) -> tuple[int, ...]:
        return tuple(range(kept_units(size, share, least)))

    blocks = []
    for block in dense.blocks:
        heads = first(block.num_heads, shares.heads)
        dims = (tuple(range(block.head_dim)),) * len(heads)
        mlp = first(block.mlp_hidden, shares.mlp, LEAST_MLP)
        blocks.append(BlockPlan(heads=heads, qk_dims=dims, value_dims=dims, mlp=mlp))
    return Plan(width=first(dense.embed_dim, shares.width), blocks=tuple(blocks))
