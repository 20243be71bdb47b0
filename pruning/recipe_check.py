"""Whether every value of a recipe is one that pruning and training take."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dgprune.errors import DgpruneError
from dgprune.recipe import DistillRecipe, PruneRecipe, Recipe, TrainRecipe
from dgprune.structure import Structure

if TYPE_CHECKING:
    from pruning.between import Between
    from pruning.spec import PruneSpec


def check_recipe(recipe: Recipe) -> None:
    """Raises DgpruneError for a value that a later step would refuse, before the first one runs."""
    from dgprune.models import bare_model, structure_of
    from pruning.budgets import Budget, limits_from
    from pruning.distillation import require_blocks
    from pruning.spec import REFIT_IMAGES, PruneSpec
    from pruning.training_spec import TrainSpec

    structure = structure_of(bare_model(recipe.model), recipe.model)
    for part, distill in _trainings(recipe):
        require_blocks(distill.feature_blocks, len(structure.blocks))
        TrainSpec(
            epochs=part.epochs,
            learning_rate=part.lr,
            batch_size=part.batch_size,
            weight_decay=part.weight_decay,
            warmup_epochs=part.warmup_epochs,
            label_smoothing=part.label_smoothing,
            distill_weight=distill.weight,
            temperature=distill.temperature,
            feature_weight=distill.features,
            feature_blocks=distill.feature_blocks,
            augmentation=part.augmentation,
            seed=recipe.seed,
            clip_norm=part.clip_norm,
            averaging=part.averaging,  # type: ignore[arg-type]  # checked by the spec itself
            ema_decay=part.ema_decay,
            mixup=part.mixup,
            coral=part.coral,
            domain_balanced=part.domain_balanced,
            layer_decay=part.layer_decay,
            evaluate_every=part.evaluate_every,
            patience=part.patience,
            precision=part.precision,  # type: ignore[arg-type]
            selection=part.selection,  # type: ignore[arg-type]
        )
    for entry, criterion, planned in recipe.cells():
        if entry.refit_images is not None and not entry.refit:
            raise DgpruneError("refit_images does nothing with refit = false; remove one of them")
        budget = Budget(kind=planned.kind, value=planned.value)  # type: ignore[arg-type]
        spec = PruneSpec(
            criterion=criterion,  # type: ignore[arg-type]  # checked by the spec itself
            ranking=entry.ranking,  # type: ignore[arg-type]
            budget=budget,
            score_images=entry.score_images,
            engine=entry.engine,  # type: ignore[arg-type]
            refit=entry.refit,
            refit_images=entry.refit_images or REFIT_IMAGES,
            limits=limits_from(budget, entry.align, entry.floor),
        )
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
