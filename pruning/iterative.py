"""Pruning in steps, with fine-tuning under the dense model's guidance between them.

The paper (arXiv 2504.04196) names dynamic training strategies as future work; this is the common
one. After step k of N the share that is gone is f k/N (linear), or f (1 - (1 - k/N)^3), which cuts
most while the model can still recover (cubic, Zhu and Gupta 2017).
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from dgprune.checkpoint import is_checkpoint, open_checkpoint
from dgprune.errors import DgpruneError, require_between
from dgprune.progress import SILENT, Progress
from dgprune.schema import Json
from dgprune.source import SourceSpec
from dgprune.stage import Done
from dgprune.structure import Structure, cost_of
from pruning.finetune_checkpoint import FinetuneSpec, finetune
from pruning.planning import Budget
from pruning.prune_checkpoint import Given, prune
from pruning.spec import PruneSpec
from pruning.training import TrainSpec

Schedule = Literal["cubic", "linear"]
SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepsSpec:
    """How many cuts, how large each is, and the training between two of them."""

    steps: int
    schedule: Schedule = "cubic"
    train: TrainSpec = TrainSpec(epochs=1)

    def __post_init__(self) -> None:
        require_between("--steps", self.steps, 1, 1000)
        if self.schedule not in SCHEDULES:
            raise DgpruneError(
                f"--schedule {self.schedule!r} must be one of {', '.join(SCHEDULES)}"
            )

    def done(self, step: int) -> float:
        """The share of the whole cut that is made after `step`, counted from 1."""
        left = 1 - step / self.steps
        return 1 - (left**3 if self.schedule == "cubic" else left)


def prune_in_steps(
    source: SourceSpec, spec: PruneSpec, steps: StepsSpec, out: Path, progress: Progress = SILENT
) -> Done:
    """The checkpoint after the last cut, not yet recovered; each step is a folder under `out`.

    The teacher is the checkpoint that is pruned. Interrupted, the same call goes on where it
    stopped. Raises DgpruneError where the model is no checkpoint, and so has nothing to teach.
    """
    if not is_checkpoint(Path(source.model)):
        raise DgpruneError(
            f"--steps needs a fine-tuned checkpoint to learn from, not {source.model}; "
            "make one with dgprune finetune"
        )
    dense = open_checkpoint(Path(source.model)).structure
    spec = replace(spec, limits=replace(spec.limits, min_width=_min_width(spec, dense)))
    train = replace(steps.train, seed=spec.seed)
    current, fresh = source, False
    for step in range(1, steps.steps + 1):
        target = _target(spec.budget, steps.done(step))
        structure = open_checkpoint(Path(current.model)).structure
        budget = _of_current(target, dense, structure, last=step == steps.steps)
        given = Given(
            label=f"{spec.label}-step{step}of{steps.steps}",
            asked={**_asked(steps, train), "step": step, target.kind: target.value},
        )
        done = prune(current, spec.with_budget(budget), out, progress, given)
        fresh = fresh or done.fresh
        if step < steps.steps:
            current = replace(source, model=str(done.path))
            taught = FinetuneSpec(source=current, train=train, teacher=source.model)
            recovered = finetune(taught, out, progress)
            current = replace(source, model=str(recovered.path))
            fresh = fresh or recovered.fresh
    return Done(path=done.path, fresh=fresh, summary=done.summary)


def _min_width(spec: PruneSpec, dense: Structure) -> int:
    """The floor of the width, of the dense model and not of what each step leaves."""
    return spec.limits.min_width or -(-dense.embed_dim // 4)


def _asked(steps: StepsSpec, train: TrainSpec) -> Json:
    return {"steps": steps.steps, "schedule": steps.schedule, "between": train.asked()}


def _target(budget: Budget, done: float) -> Budget:
    """What is wanted after a step, against the dense model."""
    if budget.kind == "ratio":
        return Budget(kind="ratio", value=budget.value * done)
    return Budget(kind=budget.kind, value=1 - (1 - budget.value) * done)


def _of_current(target: Budget, dense: Structure, current: Structure, *, last: bool) -> Budget:
    """The same target, against the model that this step cuts; the last one has to be met."""
    size = {"ratio": _units, "macs": _macs, "params": _parameters}[target.kind]
    left = size(current) / size(dense)
    if target.kind == "ratio":
        return Budget(kind="ratio", value=max(0.0, 1 - (1 - target.value) / left))
    tolerance = target.tolerance / left if last else 1.0
    return Budget(kind=target.kind, value=min(1.0, target.value / left), tolerance=tolerance)


def _units(structure: Structure) -> int:
    """Prunable units: channels of the stream, attention channels and MLP units."""
    inner = sum(block.attention_dim + block.mlp_hidden for block in structure.blocks)
    return structure.embed_dim + inner


def _macs(structure: Structure) -> int:
    return cost_of(structure).macs_per_image


def _parameters(structure: Structure) -> int:
    return cost_of(structure).parameters
