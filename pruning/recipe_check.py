"""Whether every value of a recipe is one that pruning and training take."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from dgprune.errors import DgpruneError, require_between
from dgprune.recipe import Recipe
from dgprune.recipe_parts import DistillRecipe, PlannedCell, PruneRecipe, TrainRecipe
from dgprune.structure import Structure

if TYPE_CHECKING:
    from pruning.between import Between
    from pruning.spec import PruneSpec


def check_recipe(recipe: Recipe) -> None:
    """Raises DgpruneError for a value that a later step would refuse, before the first one runs."""
    from dgprune.models import bare_model, structure_of
    from dgprune.weights import require_weights

    require_weights(recipe.weights)
    require_between("image_size", recipe.image_size, 8, 2048)
    structure = structure_of(bare_model(recipe.model, recipe.image_size), recipe.model)
    for train, distill in _trainings(recipe):
        _require_training(train, distill, recipe.seed, structure)
    for cell in recipe.cells():
        _require_cut(cell, structure)


def _require_training(
    train: TrainRecipe, distill: DistillRecipe, seed: int, structure: Structure
) -> None:
    from pruning.distillation import require_blocks
    from pruning.training_spec import TrainSpec

    require_blocks(distill.feature_blocks, len(structure.blocks))
    same = {name: value for name, value in asdict(train).items() if name != "lr"}
    TrainSpec(
        **same,
        learning_rate=train.lr,
        distill_weight=distill.weight,
        temperature=distill.temperature,
        feature_weight=distill.features,
        feature_blocks=distill.feature_blocks,
        seed=seed,
    )


def cut_of(cell: PlannedCell) -> "PruneSpec":
    """What `prune` is asked for a cell of the grid; raises DgpruneError where it would refuse."""
    from pruning.budgets import Budget, limits_from
    from pruning.spec import REFIT_IMAGES, PruneSpec

    entry, criterion, planned = cell
    if entry.refit_images is not None and not entry.refit:
        raise DgpruneError("refit_images does nothing with refit = false; remove one of them")
    budget = Budget(kind=planned.kind, value=planned.value)  # type: ignore[arg-type]
    return PruneSpec(
        criterion=criterion,  # type: ignore[arg-type]  # checked by the spec itself
        ranking=entry.ranking,  # type: ignore[arg-type]
        budget=budget,
        score_images=entry.score_images,
        engine=entry.engine,  # type: ignore[arg-type]
        refit=entry.refit,
        refit_images=entry.refit_images or REFIT_IMAGES,
        limits=limits_from(budget, entry.align, entry.floor),
    )


def _require_cut(cell: PlannedCell, structure: Structure) -> None:
    from pruning.distillation import require_blocks

    entry, spec = cell[0], cut_of(cell)
    steps = _between(entry).steps(entry.steps, entry.schedule)
    require_blocks(steps.train.feature_blocks, len(structure.blocks), "--step-feature-blocks")
    if spec.engine == "dgprune":
        _require_room(structure, spec)


def _trainings(recipe: Recipe) -> Iterator[tuple[TrainRecipe, DistillRecipe]]:
    """Every training of a recipe, with how it is taught."""
    yield from ((recipe.dense, recipe.distill), (recipe.recover, recipe.distill))
    for entry in recipe.prune:
        yield recipe.recovery(entry), recipe.teaching(entry)


def _between(entry: PruneRecipe) -> "Between":
    """The training between two cuts of a grid entry, as `prune` takes it."""
    from pruning.between import Between

    taught = entry.step_distill
    return Between(
        epochs=entry.step_epochs,
        learning_rate=entry.step_lr,
        augmentation=entry.augmentation,
        precision=entry.step_precision,
        distill_weight=taught.weight if taught else None,
        temperature=taught.temperature if taught else None,
        feature_weight=taught.features if taught else None,
        feature_blocks=taught.feature_blocks if taught else None,
    )


def _require_room(structure: Structure, spec: "PruneSpec") -> None:
    """Raises DgpruneError where the floors keep more than the budget leaves."""
    from pruning.planning import equal_scores, make_plan

    try:
        make_plan(equal_scores(structure), structure, spec.ranking, spec.budget, spec.limits)
    except DgpruneError as error:
        raise DgpruneError(f"{spec.label} of {structure.model}: {error}") from None
