"""A recipe: the whole chain in one TOML file, with every choice written out."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from dgprune.errors import DgpruneError
from dgprune.schema import decode, nearest
from dgprune.shipped_recipes import printed_by, recipe_text

ALL_CRITERIA = ("hessian", "taylor", "l1", "l2", "random")
ALL_RATIOS = (0.5, 0.75, 0.95)


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
class PruneRecipe(Budgets):
    """Some cells of the grid: every criterion at every budget; keys with a default may be left out.

    With more than one of `steps`, `schedule` and the keys after it say how they share the cut, and
    how the model is trained between them. `recover` and `distill` stand in for those of the recipe.
    """

    criteria: tuple[str, ...]
    ranking: str
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


PlannedCell = tuple[PruneRecipe, str, PlannedBudget]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The chain: dense model, grid of pruned ones, recovery, export, measurements, report.

    `protocol` may be left out; paper-like holds no domain out, so that it has no `target`.
    """

    model: str
    weights: str
    image_size: int
    data: str
    target: str | None = None
    protocol: str = "leave-one-domain-out"
    seed: int
    dense: TrainRecipe
    prune: tuple[PruneRecipe, ...]
    recover: TrainRecipe
    distill: DistillRecipe
    bench: BenchRecipe
    evaluate: RuntimeRecipe = RuntimeRecipe()

    def where(self) -> tuple[str, ...]:
        """The options that name data and protocol."""
        target = () if self.target is None else ("--target", self.target)
        return ("--data", self.data, *target, "--protocol", self.protocol)

    def cells(self) -> list[PlannedCell]:
        """Every pruned model once: its grid entry, criterion and budget."""
        found: dict[object, PlannedCell] = {}
        for entry in self.prune:
            alike = replace(entry, criteria=(), ratios=None, macs=None, params=None)
            for budget in entry.budgets():
                for criterion in entry.criteria:
                    found.setdefault((alike, criterion, budget), (entry, criterion, budget))
        return sorted(found.values(), key=lambda cell: _mildest_first(cell[2]))

    def recovery(self, entry: PruneRecipe) -> TrainRecipe:
        """How the models of a grid entry are trained after the cut."""
        return entry.recover or self.recover

    def teaching(self, entry: PruneRecipe) -> DistillRecipe:
        """How the dense model teaches those of a grid entry."""
        return entry.distill or self.distill


def _mildest_first(budget: PlannedBudget) -> tuple[str, float]:
    return budget.kind, budget.value if budget.kind == "ratio" else -budget.value


def named_recipe(name: str) -> Recipe:
    """A recipe that comes with dgprune."""
    return _parse(recipe_text(name), name)


def read_recipe(path: Path) -> Recipe:
    """The recipe in a file; raises DgpruneError where a key is missing, unknown or wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        hint = printed_by(str(path))
        raise DgpruneError(f"{path}: cannot be read as a recipe ({error}){hint}") from None
    return _parse(text, str(path))


def full_grid(recipe: Recipe) -> Recipe:
    """The same recipe with all five criteria at all three ratios."""
    bare = replace(recipe.prune[0], macs=None, params=None)
    grid = replace(bare, criteria=ALL_CRITERIA, ratios=ALL_RATIOS)
    return replace(recipe, prune=(grid,))


def _parse(text: str, where: str) -> Recipe:
    try:
        value = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DgpruneError(f"{where} is not TOML: {error}") from None
    if isinstance(value.get("model"), list):
        raise DgpruneError(f"{where} is a plan; run it with dgprune sweep")
    recipe: Recipe = decode(Recipe, value, where=where, strict=True)
    held_out = () if recipe.target is None else (recipe.target,)
    require_protocol(recipe.protocol, "target", held_out, where)
    for entry in recipe.prune:
        entry.require_budget(where)
    if not recipe.cells():
        raise DgpruneError(f"{where}: [[prune]] names no criterion or no budget")
    return recipe


def require_protocol(protocol: str, key: str, given: Sequence[str], where: str) -> None:
    """Raises DgpruneError unless `key` names what is held out just where `protocol` holds some."""
    from dgprune.data.split import PAPER_LIKE, PROTOCOLS  # images take a while to import

    if protocol not in PROTOCOLS:
        raise DgpruneError(
            f"{where}: protocol {protocol!r} must be one of {', '.join(PROTOCOLS)}"
            f"{nearest(protocol, PROTOCOLS)}"
        )
    if (protocol == PAPER_LIKE) == bool(given):
        none = f"protocol {PAPER_LIKE} holds no domain out; remove {key} = {', '.join(given)}"
        some = f'key {key!r} is missing; add it, or protocol = "{PAPER_LIKE}"'
        raise DgpruneError(f"{where}: {none if given else some}")
