"""The cells of a sweep: units of work that are named by the digest of all that they depend on."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal

from dgprune.chain import (
    export_options,
    model_options,
    pruning_options,
    recovery_options,
    runtime_options,
    training_options,
)
from dgprune.data import DataSet, open_data
from dgprune.data.split import PAPER_LIKE, setting_of
from dgprune.errors import DgpruneError
from dgprune.recipe_parts import PlannedBudget
from dgprune.schema import digest, file_sha256
from dgprune.sweep.plan import ALL, Plan, PlannedModel, PlannedPruning
from dgprune.weights import PRETRAINED, RANDOM

Kind = Literal["dense", "pruned"]
DENSE, PREVIOUS = "{dense}", "{previous}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One model of the grid, from what it starts from to the accuracy of its exported file.

    `stages` are commands without what is equal for a whole sweep (data, store); in them `{dense}`
    stands for the checkpoint of the cell `parent`, `{previous}` for what the stage before made.
    `recipe` is equal for cells that differ in target and seed only. `target` is "" where no domain
    is held out, under the protocol paper-like.
    """

    id: str
    recipe: str
    kind: Kind
    timm_name: str
    image_size: int
    data_name: str
    data_digest: str
    target: str
    seed: int
    label: str
    stages: tuple[tuple[str, ...], ...]
    export: tuple[str, ...]
    evaluate: tuple[str, ...] = ()
    parent: str | None = None

    @property
    def model(self) -> str:
        """The model and its input, for a person."""
        return f"{self.timm_name} at {self.image_size} px"

    @property
    def name(self) -> str:
        """What a person reads: model, held-out domain or protocol, seed, pruning."""
        return f"{self.model}, {setting_of(self.target)}, seed {self.seed}: {self.label}"

    @property
    def training(self) -> str:
        """What tells how long a cell takes, beside its model: a digest of all its trainings."""
        steps = [
            list(pair)
            for stage in self.stages
            for pair in pairwise(stage)
            if pair[0].startswith("--step") or pair[0] == "--schedule"
        ]
        return digest([steps, [_without_path(s) for s in self.stages if s[0] == "finetune"]])[:16]

    def where(self) -> tuple[str, ...]:
        """The options that name the protocol: its held-out domain where it has one."""
        return ("--target", self.target) if self.target else ("--protocol", PAPER_LIKE)


def cells_of(plan: Plan, *, skip_bad_images: bool = False) -> list[Cell]:
    """Every cell of `plan` once, in its order, each parent before its children.

    Raises DgpruneError where the data cannot be opened or lacks a domain that is to be held out.
    """
    data = open_data(plan.data)
    found: dict[str, Cell] = {}
    for model in plan.model:
        weights = _identity(model)
        for target in _targets(plan, data):
            for seed in plan.seeds:
                given = [weights, skip_bad_images]
                dense = _named(_dense(plan, model, data, target, seed), given)
                for cell in (dense, *(_named(c, given) for c in _pruned(plan, dense))):
                    found.setdefault(cell.id, cell)
    return list(found.values())


def _targets(plan: Plan, data: DataSet) -> tuple[str, ...]:
    if not plan.targets:
        return ("",)  # as in an Origin: paper-like
    targets = data.domains if plan.targets == (ALL,) else plan.targets
    for target in targets:
        data.of_domain(target)
    return targets


def _identity(model: PlannedModel) -> str:
    """What tells two weights apart whatever their path: the digest of a file, or the word."""
    path = Path(model.weights)
    if model.weights in (PRETRAINED, RANDOM):
        return model.weights
    if not path.is_file():
        raise DgpruneError(f"weights {path} of {model.name}: no such file; correct the path")
    return file_sha256(path)


def _named(cell: Cell, given: list[object]) -> Cell:
    """The cell under the digest of its commands, its parent, its data, and what else is `given`."""
    stages = [_without_path(stage) for stage in cell.stages]
    weights, skip = given
    asked: list[object] = [cell.data_name, cell.data_digest, weights, cell.target, cell.seed, skip]
    asked += cell.evaluate  # nothing where the plan leaves it out
    return replace(
        cell,
        id=digest([stages, cell.export, cell.parent, asked])[:16],
        recipe=digest([stages, cell.export, cell.recipe, given])[:16],  # of a pruned one: on dense
    )


def _without_path(stage: tuple[str, ...]) -> list[str]:
    """The command, the path of its weights left out: their content counts."""
    at = stage.index("--weights") + 1 if "--weights" in stage else len(stage)
    return [*stage[:at], *stage[at + 1 :]]


def _export(plan: Plan) -> tuple[str, ...]:
    export = plan.export
    return export_options(export.format, export.precision, export.parity_images)


def _dense(plan: Plan, model: PlannedModel, data: DataSet, target: str, seed: int) -> Cell:
    where = Path(model.weights).absolute()  # a worker may run in another folder
    weights = str(where) if where.is_file() else model.weights
    finetune = ("finetune", model.name, *model_options(weights, model.image_size))
    return Cell(
        id="",
        recipe="",
        kind="dense",
        timm_name=model.name,
        image_size=model.image_size,
        data_name=data.name,
        data_digest=data.file_digest,
        target=target,
        seed=seed,
        label="dense",
        stages=((*finetune, *training_options(plan.dense)),),
        export=_export(plan),
        evaluate=runtime_options(plan.evaluate),
    )


def _pruned(plan: Plan, dense: Cell) -> Iterator[Cell]:
    for part in plan.prune:
        for ranking in part.rankings:
            for budget in part.budgets():
                for criterion in part.criteria:
                    yield replace(
                        dense,
                        kind="pruned",
                        label=_label(part, criterion, ranking, budget),
                        stages=_pruning(plan, part, criterion, ranking, budget),
                        parent=dense.id,
                    )


def _label(part: PlannedPruning, criterion: str, ranking: str, budget: PlannedBudget) -> str:
    engine = "" if part.engine == "dgprune" else "tp-"
    steps = f" in {part.steps} steps" if part.steps > 1 else ""
    return f"{engine}{criterion}-{ranking}-{budget.label}{steps}"


def _pruning(
    plan: Plan, part: PlannedPruning, criterion: str, ranking: str, budget: PlannedBudget
) -> tuple[tuple[str, ...], ...]:
    training = recovery_options(part.distill or plan.distill, part.recover or plan.recovery, DENSE)
    return (
        ("prune", DENSE, *pruning_options(part.under(ranking), criterion, budget)),
        ("finetune", PREVIOUS, *training),
    )
