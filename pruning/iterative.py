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
from pruning.budgets import Budget
from pruning.distillation import require_blocks
from pruning.finetune_checkpoint import FinetuneSpec, finetune
from pruning.planning import equal_scores, make_plan
from pruning.prune_checkpoint import Given, label_after, prune
from pruning.spec import PruneSpec
from pruning.training_spec import TrainSpec

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

    The teacher is the checkpoint that is pruned, and every budget is a share of it. Interrupted,
    the same call goes on where it stopped. Raises DgpruneError, before any training, where the
    model is no checkpoint (it would have nothing to teach) or the budget cannot be met.
    """
    if not is_checkpoint(Path(source.model)):
        raise DgpruneError(
            f"--steps needs a fine-tuned checkpoint to learn from, not {source.model}; "
            "make one with dgprune finetune"
        )
    dense = open_checkpoint(Path(source.model))
    blocks = len(dense.structure.blocks)
    require_blocks(steps.train.feature_blocks, blocks, "--step-feature-blocks")
    if spec.engine == "dgprune":
        make_plan(
            equal_scores(dense.structure), dense.structure, spec.ranking, spec.budget, spec.limits
        )
    label = label_after(dense.meta.label, spec.label)
    train = replace(steps.train, seed=spec.seed)
    current, found = source, list[Done]()
    for step in range(1, steps.steps + 1):
        target = _target(spec, steps, step)
        given = Given(
            label=f"{label}-step{step}of{steps.steps}",
            asked={**_asked(steps, train), "step": step, target.kind: target.value},
            dense=dense.structure,
        )
        budget = _for_torch_pruning(spec, steps, step) if spec.engine != "dgprune" else target
        done = prune(current, spec.with_budget(budget), out, progress, given)
        found.append(done)
        if step < steps.steps:
            current = replace(source, model=str(done.path))
            teacher = source.model if train.follows_teacher else None
            taught = FinetuneSpec(source=current, train=train, teacher=teacher)
            recovered = finetune(taught, out, progress)
            current = replace(source, model=str(recovered.path))
            found.append(recovered)
    fresh = any(part.fresh for part in found)
    whole = all(part.fresh and not part.resumed for part in found)
    return replace(done, fresh=fresh, resumed=fresh and not whole)


def _asked(steps: StepsSpec, train: TrainSpec) -> Json:
    return {"steps": steps.steps, "schedule": steps.schedule, "between": train.asked()}


def _target(spec: PruneSpec, steps: StepsSpec, step: int) -> Budget:
    """What is wanted after a step, as a share of the dense model.

    Only the last one has to be met; the others leave it something to do.
    """
    budget, done = spec.budget, steps.done(step)
    if budget.kind == "ratio":
        return Budget(kind="ratio", value=budget.value * done)
    if step == steps.steps:
        return budget
    wanted = 1 - (1 - budget.value) * done
    return Budget(kind=budget.kind, value=wanted, tolerance=1.0, not_below=budget.value)


def _for_torch_pruning(spec: PruneSpec, steps: StepsSpec, step: int) -> Budget:
    """The ratio of one step; torch-pruning knows the model it is given, not the dense one."""
    before = spec.budget.value * steps.done(step - 1)
    after = spec.budget.value * steps.done(step)
    return Budget(kind="ratio", value=1 - (1 - after) / (1 - before))
