"""The budget `--speedup S --runtime R`: cut until the shipped file measures S times faster.

A latency table (`dgprune.latency_table`) says where to look; what counts is a measurement of the
plan itself, exported and timed against the dense model in one run.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dgprune.environment import current_environment
from dgprune.errors import DgpruneError, require_between
from dgprune.latency_table import LEAST_MLP, LatencyTable, Shares, kept_units, open_table
from dgprune.models import structure_of
from dgprune.progress import SILENT, Progress
from dgprune.records import LatencyRecord, read_records
from dgprune.schema import Json, canonical_json, digest, encode
from dgprune.source import SourceSpec, open_source
from dgprune.stage import Done
from dgprune.statistics import Interval, speedup_interval
from dgprune.structure import Structure
from pruning.plan import BlockPlan, Plan, everything, plan_json
from pruning.planning import plan_for_time
from pruning.prune_checkpoint import Given, Images, prune, score_units
from pruning.ranking import UnitScores
from pruning.spec import PruneSpec

RUNTIMES = ("onnxruntime",)
_ROUNDS = 8
_CLOSE = 1.03
Invoke = Callable[[Sequence[str]], Done]


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """The speedup over the dense model that is wanted, and where it is measured."""

    speedup: float
    runtime: str = "onnxruntime"
    batch_size: int = 1
    threads: int = 1
    tier: str = "smoke"

    def __post_init__(self) -> None:
        if self.runtime not in RUNTIMES:
            raise DgpruneError(
                f"--runtime {self.runtime!r} cannot be measured; it must be one of "
                f"{', '.join(RUNTIMES)}"
            )
        require_between("--speedup", self.speedup, 1, 1000)
        require_between("--batch", self.batch_size, 1, 4096)
        require_between("--threads", self.threads, 1, 1024)


@dataclass(kw_only=True)
class Shipped:
    """Times plans as shipped: cut, exported and benched by the commands a user would type."""

    source: SourceSpec
    dense: Structure
    aim: Aim
    folder: Path
    invoke: Invoke
    baseline: Path | None = field(default=None, init=False)

    def speedup(self, plan: Plan) -> Interval:
        """Measured speedup of `plan` over the dense model, with its 95 % interval."""
        if self.baseline is None:
            self.baseline = self._export(everything(self.dense))
        artefact = self._export(plan)
        records = self.folder / f"{artefact.name}.jsonl"
        aim = self.aim
        self.invoke(
            [
                *("bench", str(artefact), "--baseline", str(self.baseline)),
                *("--data", self.source.data, "--batch", str(aim.batch_size)),
                *("--threads", str(aim.threads), "--tier", aim.tier, "--records", str(records)),
                "--quiet",
                *self._bad_images(),
            ]
        )
        (record,) = (entry.record for entry in read_records(records))
        assert isinstance(record, LatencyRecord)
        return speedup_interval(record.blocks)

    def _export(self, plan: Plan) -> Path:
        source, store = self.source, str(self.folder / "store")
        saved = self.folder / "plan.json"
        saved.write_text(canonical_json(plan_json(plan)))
        given = [] if source.weights is None else ["--weights", source.weights]
        given += [] if source.image_size is None else ["--image-size", str(source.image_size)]
        pruned = self.invoke(
            [
                *("prune", source.model, "--data", source.data, "--target", source.target),
                *("--plan", str(saved), "--no-refit", "--seed", str(source.seed), "--out", store),
                "--quiet",
                *given,
                *self._bad_images(),
            ]
        )
        shipped = ["export", str(pruned.path), "--data", source.data, "--out", store, "--quiet"]
        return self.invoke([*shipped, "--parity-images", "8", *self._bad_images()]).path

    def _bad_images(self) -> list[str]:
        return ["--skip-bad-images"] if self.source.skip_bad_images else []


def prune_to_speedup(
    source_spec: SourceSpec,
    spec: PruneSpec,
    aim: Aim,
    out: Path,
    invoke: Invoke,
    progress: Progress = SILENT,
) -> Done:
    """A pruned checkpoint whose file measured at least `aim.speedup`, and the interval.

    `invoke` runs another command in this process. Raises DgpruneError where the floors of the spec
    do not let any plan be that fast.
    """
    source = open_source(source_spec)
    model = source.load()
    structure = structure_of(model, source.origin.model)
    images = Images(source=source, skip=source_spec.skip_bad_images, progress=progress)
    scores = score_units(model, images, spec)
    with tempfile.TemporaryDirectory(prefix="dgprune-") as folder:
        shipped = Shipped(
            source=source_spec, dense=structure, aim=aim, folder=Path(folder), invoke=invoke
        )
        search = Search(scores=scores, spec=spec, shipped=shipped, progress=progress)
        plan, measured = search.run()
    given = Given(
        plan=plan,
        label=spec.label_for(f"{aim.speedup:g}x"),
        asked={**spec.asked_of_plan(), **encode(aim)},
    )
    done = prune(source_spec, spec, out, progress, given)
    summary: Json = {**done.summary, "measured_speedup": encode(measured), **encode(aim)}
    return Done(path=done.path, fresh=done.fresh, summary=summary)


@dataclass(frozen=True, kw_only=True)
class Search:
    """Looks for the least cut that measures fast enough."""

    scores: UnitScores
    spec: PruneSpec
    shipped: Shipped
    progress: Progress = SILENT

    def run(self) -> tuple[Plan, Interval]:
        """The plan nearest to the aim among those that reached it, and its measured speedup."""
        wanted = goal = self.shipped.aim.speedup
        table = self._table()
        best: tuple[Plan, Interval] | None = None
        seen: dict[Plan, Interval] = {}
        for _ in range(_ROUNDS):
            plan = self._plan(table, goal)
            if plan in seen:
                goal *= 1.01 if best is None else 0.99
                continue
            measured = seen[plan] = self._measure(plan)
            if measured.estimate >= wanted and (
                best is None or measured.estimate < best[1].estimate
            ):
                best = plan, measured
            if wanted <= measured.estimate <= wanted * _CLOSE:
                break
            goal *= wanted * (1 + _CLOSE) / 2 / measured.estimate
        if best is None:
            fastest = max(interval.estimate for interval in seen.values())
            raise DgpruneError(
                f"--speedup {wanted:g}: the fastest of {len(seen)} measured plans reached "
                f"{fastest:.2f}x; ask for less, or lower the floors (--floor, --align)"
            )
        return best

    def _plan(self, table: LatencyTable, goal: float) -> Plan:
        spec, dense = self.spec, self.shipped.dense
        return plan_for_time(
            self.scores, dense, spec.ranking, spec.limits, table.relative_time, 1 / goal
        )

    def _measure(self, plan: Plan) -> Interval:
        measured = self.shipped.speedup(plan)
        self.progress.line(
            f"measured {measured.estimate:.2f}x [{measured.low:.2f}, {measured.high:.2f}]"
        )
        return measured

    def _table(self) -> LatencyTable:
        aim, dense = self.shipped.aim, self.shipped.dense

        def measure(shares: Shares) -> float:
            told = f"width {shares.width:g}, heads {shares.heads:g}, MLP {shares.mlp:g}"
            self.progress.line(f"latency table: {told} of the dense model")
            return 1 / self.shipped.speedup(uniform_plan(dense, shares)).estimate

        measured_by = {**encode(aim), "speedup": None}
        made_of = [encode(dense), measured_by, encode(current_environment())]
        return open_table(digest(made_of), dense, measure)


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
