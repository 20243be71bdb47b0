"""What recipes and plans are made of: trainings, prunings, files and measurements."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from dgprune.errors import DgpruneError, require_between
from dgprune.schema import nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRecipe:
    """One fine-tuning: the options of `dgprune finetune`; those with a default may be left out."""

    epochs: int
    lr: float
    batch_size: int
    weight_decay: float
    warmup_epochs: float
    label_smoothing: float
    augmentation: str
    clip_norm: float = 1.0
    averaging: str = "none"
    ema_decay: float = 0.999
    mixup: float = 0.0
    coral: float = 0.0
    domain_balanced: bool = False
    layer_decay: float = 1.0
    evaluate_every: int = 0
    patience: int = 0
    precision: str = "auto"
    selection: str = "source-val"


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillRecipe:
    """How the dense model teaches the pruned ones."""

    weight: float
    temperature: float
    features: float = 0.0
    feature_blocks: int = 1

    @property
    def teaches(self) -> bool:
        """Whether the dense model has any share in the loss."""
        return bool(self.weight or self.features)


class PlannedBudget(NamedTuple):
    """A budget of `dgprune prune`: `ratio` of the units that goes, `macs` or `params` that stay."""

    kind: str
    value: float

    @property
    def label(self) -> str:
        """As the label of a file says it: `50`, `macs36`."""
        return f"{'' if self.kind == 'ratio' else self.kind}{100 * self.value:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """The budgets of some cells; kinds that are left out are None, and one must be there."""

    ratios: tuple[float, ...] | None = None
    macs: tuple[float, ...] | None = None
    params: tuple[float, ...] | None = None

    def budgets(self) -> tuple[PlannedBudget, ...]:
        """All of them, the mildest cut of each kind first."""
        given = {"ratio": self.ratios, "macs": self.macs, "params": self.params}
        return tuple(
            PlannedBudget(kind, value)
            for kind, values in given.items()
            for value in sorted(values or (), reverse=kind != "ratio")
        )

    def require_budget(self, where: str) -> None:
        """Raises DgpruneError where no kind of budget is named."""
        if self.ratios is None and self.macs is None and self.params is None:
            raise DgpruneError(f"{where}: a [[prune]] has no budget; add ratios, macs or params")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruning(Budgets):
    """Some cells of a grid, whatever ranks their units; keys with a default may be left out.

    With more than one of `steps`, `schedule` and the keys after it say how they share the cut, and
    how the model is trained between them. `recover` and `distill` stand in for those of the whole.
    """

    criteria: tuple[str, ...]
    score_images: int
    refit: bool
    refit_images: int | None = None
    engine: str = "dgprune"
    floor: str | None = None
    align: str | None = None
    steps: int = 1
    schedule: str | None = None
    step_epochs: int | None = None
    step_lr: float | None = None
    augmentation: str | None = None
    step_precision: str | None = None
    step_distill: DistillRecipe | None = None
    recover: TrainRecipe | None = None
    distill: DistillRecipe | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneRecipe(Pruning):
    """Every criterion at every budget, under one ranking."""

    ranking: str


PlannedCell = tuple[PruneRecipe, str, PlannedBudget]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRecipe:
    """The files that are made of every model, each of which is evaluated and timed.

    Pruning is timed within one format and precision, every further precision also as what it
    brings the dense model over the first.
    """

    formats: tuple[str, ...] = ("onnx",)
    precisions: tuple[str, ...] = ("fp32",)
    parity_images: int | None = None

    def files(self) -> tuple[tuple[str, str], ...]:
        """Format and precision of every file of a model."""
        return tuple(product(self.formats, self.precisions))

    def require_known(self, where: str) -> None:
        """Raises DgpruneError for what `export` would refuse, or would make twice."""
        from dgprune.artefact import FORMATS, PRECISIONS  # of a recipe only: images come with it

        for key, known in (("formats", FORMATS), ("precisions", PRECISIONS)):
            named = getattr(self, key)
            if not named or len(set(named)) < len(named):
                raise DgpruneError(
                    f"{where}: export.{key} must name one or more of {', '.join(known)}, each once"
                )
            for value in named:
                require_known(where, f"export.{key}", value, known)
        require_parity_images(where, self.parity_images)


def require_known(where: str, key: str, value: str, known: Sequence[str]) -> None:
    """Raises DgpruneError where `value` is none of `known`."""
    if value not in known:
        hint = nearest(value, known)
        raise DgpruneError(f"{where}: {key} {value!r} must be one of {', '.join(known)}{hint}")


def require_parity_images(where: str, count: int | None) -> None:
    """Raises DgpruneError where `count` is given and `export` would refuse it."""
    if count is not None:
        require_between(f"{where}: export.parity_images", count, 1, 1e9)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeRecipe:
    """What executes the files: the default of `evaluate` and `bench` where left out."""

    runtime: str | None = None
    provider: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRecipe(RuntimeRecipe):
    """The options of `dgprune bench`."""

    batch: tuple[int, ...]
    tier: str
    threads: int
