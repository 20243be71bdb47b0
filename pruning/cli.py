"""`dgprune finetune` and `dgprune prune`."""

from pathlib import Path
from typing import Annotated

import typer

from dgprune.errors import refuse_idle
from dgprune.options import (
    AsJson,
    Data,
    ImageSize,
    Out,
    Protocol,
    Quiet,
    Seed,
    SkipBadImages,
    Target,
    Weights,
)
from dgprune.output import finish
from dgprune.progress import progress_for
from dgprune.stage import Done
from pruning import pruning_options as cut
from pruning import training_options as option
from pruning.recipe_check import check_recipe as check_recipe

Model = Annotated[
    str, typer.Argument(metavar="MODEL|CHECKPOINT", help="A timm name or a checkpoint.")
]


def finetune(
    model: Model,
    data: Data,
    target: Target = None,
    protocol: Protocol = None,
    out: Out = Path("runs"),
    weights: Weights = None,
    image_size: ImageSize = None,
    teacher: option.Teacher = None,
    epochs: option.Epochs = 5,
    lr: option.LearningRate = 1e-4,
    batch_size: option.BatchSize = 32,
    weight_decay: option.WeightDecay = 0.05,
    warmup_epochs: option.WarmupEpochs = 0.5,
    label_smoothing: option.LabelSmoothing = 0.1,
    clip_norm: option.ClipNorm = 1.0,
    distill_weight: option.DistillWeight = None,
    temperature: option.Temperature = None,
    feature_weight: option.FeatureWeight = 0.0,
    feature_blocks: option.FeatureBlocks = 1,
    augmentation: option.Augmentation = "photo",
    averaging: option.Averaging = "none",
    ema_decay: option.EmaDecay = 0.999,
    mixup: option.Mixup = 0.0,
    coral: option.Coral = 0.0,
    domain_balanced: option.DomainBalanced = False,
    layer_decay: option.LayerDecay = 1.0,
    evaluate_every: option.EvaluateEvery = 0,
    patience: option.Patience = 0,
    precision: option.Precision = "auto",
    selection: option.Selection = "source-val",
    seed: Seed = 0,
    skip_bad_images: SkipBadImages = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> Done:
    """Fine-tune on the source domains; prints the checkpoint's folder."""
    from dgprune.source import SourceSpec
    from pruning.finetune_checkpoint import FinetuneSpec
    from pruning.finetune_checkpoint import finetune as run
    from pruning.processes import is_first
    from pruning.training_spec import TrainSpec

    if teacher is None:  # a weight of 0 says just that
        refuse_idle(
            "without --teacher",
            {"--distill-weight": distill_weight or None, "--temperature": temperature},
        )
    train = TrainSpec(
        epochs=epochs,
        learning_rate=lr,
        weight_decay=weight_decay,
        batch_size=batch_size,
        warmup_epochs=warmup_epochs,
        label_smoothing=label_smoothing,
        distill_weight=0.5 if distill_weight is None else distill_weight,
        temperature=3.0 if temperature is None else temperature,
        feature_weight=feature_weight,
        feature_blocks=feature_blocks,
        clip_norm=clip_norm,
        augmentation=augmentation,
        seed=seed,
        averaging=averaging,  # type: ignore[arg-type]  # checked by the spec itself
        ema_decay=ema_decay,
        mixup=mixup,
        coral=coral,
        domain_balanced=domain_balanced,
        layer_decay=layer_decay,
        evaluate_every=evaluate_every,
        patience=patience,
        precision=precision,  # type: ignore[arg-type]
        selection=selection,  # type: ignore[arg-type]
    )
    source = SourceSpec(
        model=model,
        data=data,
        target=target,
        protocol=protocol,
        weights=weights,
        image_size=image_size,
        seed=seed,
        skip_bad_images=skip_bad_images,
    )
    spec = FinetuneSpec(source=source, train=train, teacher=teacher)
    done = run(spec, out, progress_for(quiet=quiet or not is_first()))
    return finish(done, as_json=as_json) if is_first() else done


def prune(
    context: typer.Context,
    model: Model,
    data: Data,
    target: Target = None,
    protocol: Protocol = None,
    out: Out = Path("runs"),
    criterion: cut.Criterion = None,
    ranking: cut.Ranking = None,
    engine: cut.Engine = None,
    ratio: cut.Ratio = None,
    macs: cut.Macs = None,
    params: cut.Params = None,
    speedup: cut.Speedup = None,
    latency_ms: cut.LatencyMs = None,
    plan: cut.Plan = None,
    runtime: cut.Runtime = None,
    batch: cut.Batch = None,
    threads: cut.Threads = None,
    steps: cut.Steps = 1,
    schedule: cut.Schedule = None,
    step_epochs: cut.StepEpochs = None,
    step_lr: cut.StepLr = None,
    augmentation: cut.Augmentation = None,
    step_precision: cut.StepPrecision = None,
    step_distill_weight: cut.StepDistillWeight = None,
    step_temperature: cut.StepTemperature = None,
    step_feature_weight: cut.StepFeatureWeight = None,
    step_feature_blocks: cut.StepFeatureBlocks = None,
    align: cut.Align = None,
    floor: cut.Floor = None,
    score_images: cut.ScoreImages = None,
    refit: cut.Refit = None,
    refit_images: cut.RefitImages = None,
    scale_attention: cut.ScaleAttention = "keep",
    drop_dependency: cut.DropDependency = None,
    weights: Weights = None,
    image_size: ImageSize = None,
    seed: Seed = 0,
    skip_bad_images: SkipBadImages = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> Done:
    """Prune heads, head dimensions, MLP units and width; prints the checkpoint's folder."""
    from dgprune.source import SourceSpec
    from pruning.asked import Asked, aim_from, prune_as_asked
    from pruning.between import Between
    from pruning.budgets import budget_from, limits_from
    from pruning.prune_checkpoint import read_plan
    from pruning.spec import REFIT_IMAGES, PruneSpec, usual_of

    given = {"ratio": ratio, "macs": macs, "params": params}
    measured = {"speedup": speedup, "latency-ms": latency_ms}
    budget = budget_from({**given, **measured, "plan": plan})
    scoring = {
        "--criterion": criterion,
        "--ranking": ranking,
        "--engine": engine,
        "--score-images": score_images,
    }
    limiting = {"--align": align, "--floor": floor, "--runtime": runtime}
    if plan is not None:
        refuse_idle("with --plan", {**scoring, **limiting})
    if engine == "torch-pruning":
        refuse_idle("with --engine torch-pruning", limiting)
    usual = usual_of(engine)
    fits = usual.refit if refit is None else refit
    if not fits:
        because = "with --no-refit" if refit is False else f"with --engine {engine}"
        refuse_idle(because, {"--refit-images": refit_images})
    aim = aim_from(speedup, latency_ms, runtime, batch, threads)
    spec = PruneSpec(
        criterion=criterion or usual.criterion,  # type: ignore[arg-type]  # checked by the spec itself
        ranking=ranking or usual.ranking,  # type: ignore[arg-type]
        budget=budget,
        score_images=256 if score_images is None else score_images,
        seed=seed,
        limits=limits_from(
            budget, align, floor, aim.runtime if aim else runtime, for_speed=bool(aim)
        ),
        engine=engine or "dgprune",  # type: ignore[arg-type]
        refit=fits,
        refit_images=REFIT_IMAGES if refit_images is None else refit_images,
        scale_attention=scale_attention,  # type: ignore[arg-type]
        drop_dependency=drop_dependency or "none",  # type: ignore[arg-type]
    )
    source = SourceSpec(
        model=model,
        data=data,
        target=target,
        protocol=protocol,
        weights=weights,
        image_size=image_size,
        seed=seed,
        skip_bad_images=skip_bad_images,
    )
    between = Between(
        epochs=step_epochs,
        learning_rate=step_lr,
        augmentation=augmentation,
        precision=step_precision,
        distill_weight=step_distill_weight,
        temperature=step_temperature,
        feature_weight=step_feature_weight,
        feature_blocks=step_feature_blocks,
    )
    asked = Asked(
        source=source,
        spec=spec,
        plan=read_plan(plan) if plan else None,
        steps=between.steps(steps, schedule),
        aim=aim,
    )
    done = prune_as_asked(asked, out, context.obj, progress_for(quiet=quiet))
    return finish(done, as_json=as_json)
