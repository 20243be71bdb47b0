"""Whether every value of a recipe is one that pruning and training take."""

from dgprune.recipe import Recipe


def check_recipe(recipe: Recipe) -> None:
    """Raises DgpruneError for a value that a later step would refuse, before the first one runs."""
    from pruning.budgets import Budget
    from pruning.spec import PruneSpec
    from pruning.training_spec import TrainSpec

    for part in (recipe.dense, recipe.recover):
        TrainSpec(
            epochs=part.epochs,
            learning_rate=part.lr,
            batch_size=part.batch_size,
            weight_decay=part.weight_decay,
            warmup_epochs=part.warmup_epochs,
            label_smoothing=part.label_smoothing,
            distill_weight=recipe.distill.weight,
            temperature=recipe.distill.temperature,
            feature_weight=recipe.distill.features,
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
    for entry, criterion, ratio in recipe.cells():
        PruneSpec(
            criterion=criterion,  # type: ignore[arg-type]  # checked by the spec itself
            ranking=entry.ranking,  # type: ignore[arg-type]
            budget=Budget(kind="ratio", value=ratio),
            score_images=entry.score_images,
        )
