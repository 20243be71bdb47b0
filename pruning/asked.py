"""The command `prune`: which of its forms was asked for, and what it says when it is done."""

from dataclasses import dataclass
from pathlib import Path

from dgprune.errors import DgpruneError, refuse_idle
from dgprune.progress import SILENT, Progress
from dgprune.schema import Json
from dgprune.source import SourceSpec
from dgprune.stage import Done
from pruning.iterative import StepsSpec, prune_in_steps
from pruning.plan import Plan
from pruning.prune_checkpoint import PLAN, Given, prune
from pruning.shipped import RUNTIMES, Aim, Invoke
from pruning.spec import PruneSpec
from pruning.speedup import prune_to_speedup


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One call of `prune`: at once, in steps, by a plan, or until a speedup is reached."""

    source: SourceSpec
    spec: PruneSpec
    plan: Plan | None = None
    steps: StepsSpec = StepsSpec(steps=1)
    aim: Aim | None = None

    def __post_init__(self) -> None:
        if self.steps.steps > 1 and (self.plan is not None or self.aim is not None):
            raise DgpruneError(
                "--steps takes --ratio, --macs or --params; leave --steps out with --plan, "
                "--speedup and --latency-ms"
            )
        if self.plan is not None:
            self._require_named_ablation(bool(self.plan.width_after))
        if self.aim is not None and self.spec.engine == "torch-pruning":
            raise DgpruneError(
                "--engine torch-pruning knows --ratio only; use dgprune with --speedup and "
                "--latency-ms"
            )

    def _require_named_ablation(self, edge_missed: bool) -> None:
        """A plan that misses an edge cuts so; label and lineage say it where it is asked for."""
        if edge_missed and self.spec.drop_dependency == "none":
            raise DgpruneError(
                "--plan was made with --drop-dependency residual and misses that shortcut; "
                "pass --drop-dependency residual with it, or remove its width_after"
            )
        if not edge_missed and self.spec.drop_dependency != "none":
            raise DgpruneError(
                "--drop-dependency does nothing with --plan of a plan that misses no shortcut; "
                "remove --drop-dependency"
            )


def aim_from(
    speedup: float | None,
    latency_ms: float | None,
    runtime: str | None,
    batch: int | None,
    threads: int | None,
) -> Aim | None:
    """The aim that the options of `prune` give, where a speedup or a latency is one of them."""
    if speedup is None and latency_ms is None:
        idle = {"--batch": batch, "--threads": threads}
        refuse_idle("without --speedup or --latency-ms", idle)
        return None
    return Aim(
        speedup=1.0 if speedup is None else speedup,
        latency_ms=latency_ms,
        runtime=runtime or next(iter(RUNTIMES)),
        batch_size=1 if batch is None else batch,
        threads=1 if threads is None else threads,
    )


def prune_as_asked(asked: Asked, out: Path, invoke: Invoke, progress: Progress = SILENT) -> Done:
    """The pruned checkpoint; what it keeps is told to `progress`.

    `invoke` runs another command, which a measured speedup needs.
    """
    if asked.aim is not None:
        done = prune_to_speedup(asked.source, asked.spec, asked.aim, out, invoke, progress)
    elif asked.steps.steps > 1:
        done = prune_in_steps(asked.source, asked.spec, asked.steps, out, progress)
    else:
        done = prune(asked.source, asked.spec, out, progress, Given(plan=asked.plan))
    for line in _kept(done.summary):
        progress.line(line)
    if "reached" in done.summary:
        progress.line(f"reached {done.summary['reached']}")
    if (done.path / PLAN).is_file():
        progress.line(f"plan: {done.path / PLAN} (edit it, and apply it with --plan)")
    return done


def _kept(summary: Json) -> list[str]:
    """What a pruned checkpoint keeps, for a person: one line an axis, a column a block."""
    heads = [f"{block['heads']}x{block['head_dim']}" for block in summary["blocks"]]
    units = [str(block["mlp_units"]) for block in summary["blocks"]]
    columns = [max(map(len, pair)) for pair in zip(heads, units, strict=True)]

    def row(values: list[str]) -> str:
        return " ".join(v.rjust(size) for v, size in zip(values, columns, strict=True))

    return [
        f"kept: width {summary['width']}, {summary['macs_per_image'] / 1e6:.1f} M MACs an image, "
        f"{summary['parameters'] / 1e3:.0f} k weights",
        f"  heads x dim  {row(heads)}",
        f"  MLP units    {row(units)}",
    ]
