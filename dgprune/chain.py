"""The whole chain, as the commands a user would type, one after the other."""

from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path

from dgprune.progress import Progress
from dgprune.recipe import Recipe
from dgprune.recipe_parts import (
    BenchRecipe,
    DistillRecipe,
    PlannedBudget,
    PruneRecipe,
    RuntimeRecipe,
    TrainRecipe,
)
from dgprune.stage import Done
from dgprune.store import open_store

Invoke = Callable[[Sequence[str]], Done]
Files = dict[tuple[str, str], Path]  # of one model, by format and precision


@dataclass(kw_only=True)
class _Runner:
    """Runs commands, counts them, and remembers how many had anything to do."""

    invoke: Invoke
    progress: Progress
    extra: tuple[str, ...]
    total: int
    count: int = 0
    fresh: int = 0

    def run(self, *arguments: str) -> Done:
        self.count += 1
        self.progress.line(
            f"[{self.count}/{self.total}] dgprune {arguments[0]} {Path(arguments[1]).name}"
        )
        extra = () if arguments[0] == "report" else self.extra  # a report reads no image
        done = self.invoke((*arguments, *extra))
        self.fresh += done.fresh
        return done


def run_chain(
    recipe: Recipe,
    out: Path,
    invoke: Invoke,
    progress: Progress,
    *,
    skip_bad_images: bool = False,
) -> Done:
    """Dense model, grid of pruned ones, recovery, export, accuracy, latency, report.

    Every stage is one command through `invoke`; a finished one is passed over, so that the same
    call after an interruption goes on where it stopped. Timing comes last, when nothing else runs.
    """
    store = open_store(out)
    cells, files = recipe.cells(), recipe.export.files()
    runner = _Runner(
        invoke=invoke,
        progress=progress,
        extra=("--skip-bad-images",) if skip_bad_images else (),
        total=1 + 2 * len(cells) + 3 * len(files) * (1 + len(cells)) + 1,
    )
    domains = (*recipe.where(), "--seed", str(recipe.seed))
    into = ("--out", str(store))
    records = store / "records.jsonl"

    dense = runner.run(
        "finetune", recipe.model, *domains, *into, *_model(recipe), *training_options(recipe.dense)
    ).path
    shipped = [_ship(runner, recipe, dense, store)]
    for entry, criterion, budget in cells:
        wanted = pruning_options(entry, criterion, budget)
        pruned = runner.run("prune", str(dense), *domains, *into, *wanted).path
        recovered = runner.run(
            "finetune",
            str(pruned),
            *domains,
            *into,
            *recovery_options(recipe.teaching(entry), recipe.recovery(entry), str(dense)),
        ).path
        shipped.append(_ship(runner, recipe, recovered, store))
    for form, precision in files:
        _time(runner, recipe, form, precision, shipped, records)
    report = runner.run("report", str(records), "--out", str(store / "report"))
    if runner.fresh == 0:
        progress.line(f"nothing to do: all {runner.total} steps were already done")
    return Done(path=report.path, fresh=runner.fresh > 0, summary={"report": report.summary})


def _ship(runner: _Runner, recipe: Recipe, checkpoint: Path, store: Path) -> Files:
    """Exports a checkpoint and measures the accuracy of every exported file."""
    into = ("--data", recipe.data, "--out", str(store))
    records = ("--records", str(store / "records.jsonl"))
    how = runtime_options(recipe.evaluate)
    made: Files = {}
    for form, precision in recipe.export.files():
        asked = export_options(form, precision, recipe.export.parity_images)
        artefact = runner.run("export", str(checkpoint), *into, *asked).path
        runner.run("evaluate", str(artefact), *recipe.where(), *records, *how)
        made[form, precision] = artefact
    return made


def _time(
    runner: _Runner,
    recipe: Recipe,
    form: str,
    precision: str,
    shipped: Sequence[Files],
    records: Path,
) -> None:
    """Times every model's file of one kind against the dense one, which comes first.

    Dense against itself is the A/A control; in a further precision `bench` measures that beside
    each, and dense is timed against the first precision instead.
    """
    dense, first = shipped[0], recipe.export.precisions[0]
    for files in shipped:
        further = files is dense and precision != first
        baseline = dense[form, first if further else precision]
        varied = ("--vary", "precision") if further else ()
        arms = (str(files[form, precision]), "--baseline", str(baseline), *varied)
        runner.run("bench", *arms, *_bench(recipe, records))


def _model(recipe: Recipe) -> tuple[str, ...]:
    return model_options(recipe.weights, recipe.image_size)


def model_options(weights: str, image_size: int) -> tuple[str, ...]:
    """What belongs to a timm name, as `dgprune finetune` takes it."""
    return ("--weights", weights, "--image-size", str(image_size))


def export_options(form: str, precision: str, parity_images: int | None) -> tuple[str, ...]:
    """A file of a model, as `dgprune export` takes it."""
    parity = () if parity_images is None else ("--parity-images", str(parity_images))
    return ("--format", form, "--precision", precision, *parity)


def pruning_options(entry: PruneRecipe, criterion: str, budget: PlannedBudget) -> tuple[str, ...]:
    """One cut of the grid, as `dgprune prune` takes it."""
    cut = (f"--{budget.kind}", str(budget.value))
    wanted = ("--criterion", criterion, "--ranking", entry.ranking, *cut)
    fit = "--refit" if entry.refit else "--no-refit"
    taught = distillation_options(entry.step_distill, "step-") if entry.step_distill else ()
    return (*wanted, "--score-images", str(entry.score_images), fit, *_given(entry), *taught)


def training_options(train: TrainRecipe) -> tuple[str, ...]:
    """A fine-tuning, as `dgprune finetune` takes it."""
    return (
        *("--epochs", str(train.epochs)),
        *("--lr", str(train.lr)),
        *("--batch-size", str(train.batch_size)),
        *("--weight-decay", str(train.weight_decay)),
        *("--warmup-epochs", str(train.warmup_epochs)),
        *("--label-smoothing", str(train.label_smoothing)),
        *("--augmentation", train.augmentation),
        *_given(train),
    )


def recovery_options(distill: DistillRecipe, train: TrainRecipe, dense: str) -> tuple[str, ...]:
    """The training of a pruned model, as `dgprune finetune` takes it; `dense` may teach it."""
    taught = (
        ("--teacher", dense, *distillation_options(distill))
        if distill.teaches
        else ("--distill-weight", str(distill.weight))
    )
    return (*taught, *training_options(train))


# Keys of a grid entry that say which cells there are, and tables of other options.
_NO_OPTION = ("ratios", "macs", "params", "step_distill", "recover", "distill")


def _given(part: TrainRecipe | DistillRecipe | PruneRecipe, prefix: str = "") -> tuple[str, ...]:
    """The options that may be left out, where they are something else than their default."""
    found: list[str] = []
    for field in fields(part):
        value = getattr(part, field.name)
        if field.default is MISSING or value == field.default or field.name in _NO_OPTION:
            continue
        name = "feature_weight" if field.name == "features" else field.name
        found.append(f"--{prefix}{name.replace('_', '-')}")
        if not isinstance(value, bool):
            found.append(str(value))
    return tuple(found)


def distillation_options(distill: DistillRecipe, prefix: str = "") -> tuple[str, ...]:
    """A distillation, as `dgprune finetune` takes it beside `--teacher`.

    Under the `prefix` "step-" it is the one between two cuts, as `dgprune prune` takes it.
    """
    return (
        *(f"--{prefix}distill-weight", str(distill.weight)),
        *(f"--{prefix}temperature", str(distill.temperature)),
        *_given(distill, prefix),
    )


def _bench(recipe: Recipe, records: Path) -> tuple[str, ...]:
    where = ("--data", recipe.data, "--seed", str(recipe.seed), "--records", str(records))
    return (*where, *bench_options(recipe.bench))


def bench_options(bench: BenchRecipe) -> tuple[str, ...]:
    """A measurement of latency, as `dgprune bench` takes it."""
    return (
        *("--batch", ",".join(map(str, bench.batch))),
        *("--tier", bench.tier),
        *("--threads", str(bench.threads)),
        *runtime_options(bench),
    )


def runtime_options(part: RuntimeRecipe) -> tuple[str, ...]:
    """What executes the file, as `dgprune bench` and `dgprune evaluate` take it."""
    given = {"--runtime": part.runtime, "--provider": part.provider}
    return tuple(text for name, value in given.items() if value for text in (name, value))
