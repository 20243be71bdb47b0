"""A recipe: the whole chain in one TOML file, with every choice written out."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dgprune.errors import DgpruneError
from dgprune.recipe_parts import (
    BenchRecipe,
    DistillRecipe,
    ExportRecipe,
    PlannedBudget,
    PlannedCell,
    PruneRecipe,
    RuntimeRecipe,
    TrainRecipe,
)
from dgprune.schema import decode, nearest
from dgprune.shipped_recipes import printed_by, recipe_text

ALL_CRITERIA = ("hessian", "taylor", "l1", "l2", "random")
ALL_RATIOS = (0.5, 0.75, 0.95)


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
    export: ExportRecipe = ExportRecipe()
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
    recipe.export.require_known(where)
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
