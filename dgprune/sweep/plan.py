"""A plan: the grid of a sweep in one TOML file, with every choice written out."""

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

from dgprune.artefact import FORMATS, PRECISIONS
from dgprune.errors import DgpruneError
from dgprune.recipe import Recipe, require_protocol
from dgprune.recipe_parts import (
    BenchRecipe,
    DistillRecipe,
    ExportRecipe,
    PruneRecipe,
    Pruning,
    RuntimeRecipe,
    TrainRecipe,
    require_known,
    require_parity_images,
)
from dgprune.schema import decode
from dgprune.shipped_recipes import printed_by

_ENGINES = ("dgprune", "torch-pruning")
ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedModel:
    """A timm name, where its weights come from, and its input size in pixels."""

    name: str
    weights: str
    image_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPruning(Pruning):
    """Every criterion under every ranking at every budget."""

    rankings: tuple[str, ...]

    def under(self, ranking: str) -> PruneRecipe:
        """The cells under one of the rankings."""
        names = [field.name for field in fields(Pruning)]
        return PruneRecipe(ranking=ranking, **{name: getattr(self, name) for name in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedExport:
    """The file that is made of every model, and measured."""

    format: str = "onnx"
    precision: str = "fp32"
    parity_images: int | None = None

    def as_recipe(self) -> ExportRecipe:
        """The same file in the words of a recipe."""
        return ExportRecipe(
            formats=(self.format,), precisions=(self.precision,), parity_images=self.parity_images
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Models x targets x seeds, each dense and under every pruning.

    `targets` of "all" are all domains of the data; the protocol paper-like holds none out, so that
    it has no `targets`. Without `prune`, or with an empty list in it, models stay dense, and need
    no `recover`; without `bench` no latency is measured.
    """

    data: str
    targets: tuple[str, ...] = ()
    protocol: str = "leave-one-domain-out"
    seeds: tuple[int, ...]
    model: tuple[PlannedModel, ...]
    dense: TrainRecipe
    recover: TrainRecipe | None = None
    distill: DistillRecipe = DistillRecipe(weight=0.5, temperature=3.0)
    prune: tuple[PlannedPruning, ...] = ()
    export: PlannedExport = PlannedExport()
    evaluate: RuntimeRecipe = RuntimeRecipe()
    bench: BenchRecipe | None = None

    @property
    def recovery(self) -> TrainRecipe:
        """How pruned models are trained; as the dense ones where there are none."""
        return self.recover or self.dense

    def recipes(self) -> list[Recipe]:
        """The plan as recipes, one a model and seed: their values are what later steps check."""
        grid = tuple(part.under(ranking) for part in self.prune for ranking in part.rankings)
        return [
            Recipe(
                model=model.name,
                weights=model.weights,
                image_size=model.image_size,
                data=self.data,
                target=next(iter(self.targets), None),
                protocol=self.protocol,
                seed=seed,
                dense=self.dense,
                prune=grid,
                recover=self.recovery,
                distill=self.distill,
                export=self.export.as_recipe(),
                evaluate=self.evaluate,
                bench=self.bench or BenchRecipe(batch=(1,), tier="smoke", threads=1),
            )
            for model in self.model
            for seed in self.seeds
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFile:
    """A plan, and the text that it was read from: a pipe gives it once."""

    plan: Plan
    text: str


def read_plan(path: Path) -> Plan:
    """The plan in a file; raises DgpruneError where a key is missing, unknown or wrong."""
    return open_plan(path).plan


def open_plan(path: Path) -> PlanFile:
    """The plan in a file and its text; raises DgpruneError as `read_plan` does."""
    try:
        text = path.read_text(encoding="utf-8")
        value = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DgpruneError(f"{path} is not TOML: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        hint = printed_by(str(path))
        raise DgpruneError(f"{path}: cannot be read as a plan ({error}){hint}") from None
    if isinstance(value.get("model"), str):
        raise DgpruneError(f"{path} is a recipe; run it with dgprune run")
    plan: Plan = decode(Plan, value, where=str(path), strict=True)
    _check(plan, str(path))
    return PlanFile(plan=plan, text=text)


def _check(plan: Plan, where: str) -> None:
    require_protocol(plan.protocol, "targets", plan.targets, where)
    for key in ("model", "seeds"):
        if not getattr(plan, key):
            raise DgpruneError(f"{where}: {key} is empty; name one or more")
    for part in plan.prune:
        part.require_budget(where)
    needy = [part for part in plan.prune if part.recover is None]
    if plan.recover is None and any(part.criteria and part.budgets() for part in needy):
        raise DgpruneError(f"{where}: key 'recover' is missing; pruned models need that training")
    if ALL in plan.targets and len(plan.targets) > 1:
        raise DgpruneError(f'{where}: targets has "all" beside others; name either')
    require_known(where, "export.format", plan.export.format, FORMATS)
    require_known(where, "export.precision", plan.export.precision, PRECISIONS)
    require_parity_images(where, plan.export.parity_images)
    for part in plan.prune:
        require_known(where, "prune.engine", part.engine, _ENGINES)
        if part.engine == "torch-pruning" and part.refit:
            raise DgpruneError(f"{where}: prune.engine torch-pruning needs refit = false")
