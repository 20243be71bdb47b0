"""The command `dgprune`."""

import contextlib
import io
import json
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

import benchmark.cli
import export.cli
import pruning.cli
import reports.cli
from dgprune import __version__
from dgprune.data.cli import app as data_app
from dgprune.errors import DgpruneError
from dgprune.exit_code import INTERRUPTED, exit_code_of
from dgprune.options import AsJson, ChainOut, Quiet, SkipBadImages
from dgprune.output import finish, say, usable_streams
from dgprune.progress import progress_for
from dgprune.recipe import Recipe
from dgprune.stage import Done

app = typer.Typer(
    name="dgprune",
    help="Prune vision transformers, ship them, and measure what was shipped.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for command in (
    pruning.cli.finetune,
    pruning.cli.prune,
    export.cli.export,
    benchmark.cli.evaluate,
    benchmark.cli.bench,
    benchmark.cli.profile,
    reports.cli.report,
    reports.cli.verify,
    benchmark.cli.doctor,
):
    app.command()(command)

app.add_typer(data_app)


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Prune vision transformers, ship them, and measure what was shipped."""
    if show:
        typer.echo(f"dgprune {__version__}")
        raise typer.Exit


@app.command()
def quickstart(
    out: ChainOut = Path("runs/quickstart"),
    full: Annotated[
        bool, typer.Option("--full", help="All five criteria at all three ratios.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> Done:
    """Run the whole chain on the embedded digits, on a CPU; prints the path of the report."""
    from dgprune.recipe import full_grid, named_recipe

    recipe = named_recipe("quickstart")
    _check(recipe := full_grid(recipe) if full else recipe, "quickstart")
    return finish(_run_chain(recipe, out, quiet=quiet), as_json=as_json)


@app.command()
def run(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.toml", help="See `dgprune recipe`.")],
    out: ChainOut = Path("runs"),
    skip_bad_images: SkipBadImages = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> Done:
    """Run the whole chain from one file; run again, it goes on where it stopped."""
    from dgprune.recipe import read_recipe

    _check(found := read_recipe(recipe), str(recipe))
    done = _run_chain(found, out, quiet=quiet, skip_bad_images=skip_bad_images)
    return finish(done, as_json=as_json)


@app.command()
def sweep(
    plan: Annotated[Path, typer.Argument(metavar="PLAN.toml", help="See `dgprune recipe`.")],
    out: ChainOut = Path("runs/sweep"),
    jobs: Annotated[
        int | None, typer.Option(metavar="N", help="Cells at a time on this machine (default: 1).")
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(metavar="auto|HOST:PORT", help="Or: cells on a Ray cluster."),
    ] = None,
    gpus_per_cell: Annotated[
        float | None, typer.Option(help="With --ray: GPUs a cell, such as 0.25 (default: 0).")
    ] = None,
    cpus_per_cell: Annotated[int, typer.Option(help="Threads a cell.")] = 1,
    retries: Annotated[
        int, typer.Option(help="More tries of a cell that crashed or whose worker was lost.")
    ] = 2,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on, and refuse where there is nothing to go on.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what is done and left, and how long it takes.")
    ] = False,
    skip_bad_images: SkipBadImages = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> Done:
    """Run a grid of runs as cells that are made once; run again, it goes on where it stopped."""
    from dgprune.sweep.plan import open_plan
    from dgprune.sweep.sweep import SweepSpec, failure_lines, plan_only
    from dgprune.sweep.sweep import sweep as run

    if ray is not None and jobs is not None:
        raise DgpruneError("--jobs and --ray exclude each other; give one of them")
    if ray is None and gpus_per_cell is not None:
        raise DgpruneError("--gpus-per-cell does nothing without --ray; add that or remove it")
    spec = SweepSpec(
        plan=plan,
        out=out,
        jobs=1 if jobs is None else jobs,
        ray=ray,
        cpus_per_cell=cpus_per_cell,
        gpus_per_cell=gpus_per_cell or 0.0,
        retries=retries,
        resume=resume,
        skip_bad_images=skip_bad_images,
    )
    read = open_plan(plan)
    for found in read.plan.recipes():
        _check(found, str(plan), here=ray is None and not dry_run)
    progress = progress_for(quiet=quiet)
    if dry_run:
        return finish(plan_only(spec, progress, read), as_json=as_json)
    done = run(spec, partial(_step, quiet=True), progress, read)
    for line in failure_lines(spec, done.summary):
        progress_for(quiet=False).line(line)
    return finish(done, as_json=as_json)


@app.command()
def recipe(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="Leave it out to list the names.")
    ] = "",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Print a recipe, or a plan for `sweep`, to edit; what it leaves out keeps its default."""
    from dgprune.shipped_recipes import plan_names, recipe_names, recipe_text

    if not name:
        names = {"recipes": recipe_names(), "plans": plan_names()}
        say(json.dumps(names) if as_json else "\n".join(sum(names.values(), start=[])))
        return
    text = recipe_text(name)
    say(json.dumps({"name": name, "text": text}) if as_json else text)


@app.command()
def inspect(
    folder: Annotated[Path, typer.Argument(metavar="CHECKPOINT|ARTEFACT", help="What to look at.")],
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Show structure, cost and provenance."""
    from dgprune.inspection import inspect_folder, print_inspection

    print_inspection(inspect_folder(folder), as_json=as_json)


def invoke(arguments: Sequence[str]) -> Any:
    """Runs one command in this process and returns what it made.

    A command that needs others finds the way to run them in its context.
    """
    result = app(list(arguments), standalone_mode=False, obj=partial(_step, quiet=False))
    if result == INTERRUPTED:  # typer turns Ctrl-C into this code; a chain must not go on after it
        raise KeyboardInterrupt
    return result


def _check(recipe: Recipe, where: str, *, here: bool = True) -> None:
    """Raises DgpruneError for any value that a later step would refuse; `here`: on this machine."""
    from dgprune.models import require_supported_name

    try:
        require_supported_name(recipe.model)
        pruning.cli.check_recipe(recipe)
        for form in recipe.export.formats:
            benchmark.cli.check_recipe(recipe, form, here=here)
    except DgpruneError as error:
        raise DgpruneError(f"{where}: {error}") from None


def _run_chain(recipe: Recipe, out: Path, *, quiet: bool, skip_bad_images: bool = False) -> Done:
    from dgprune.chain import run_chain

    step = partial(_step, quiet=quiet)
    return run_chain(recipe, out, step, progress_for(quiet=quiet), skip_bad_images=skip_bad_images)


def _step(arguments: Sequence[str], *, quiet: bool) -> Any:
    """A step of the chain: like `invoke`, but the chain alone prints a path."""
    with contextlib.redirect_stdout(io.StringIO()):
        return invoke([*arguments, "--quiet"] if quiet else arguments)


def main() -> None:
    """Entry point; what its exit codes mean stands in `dgprune.exit_code`."""
    usable_streams()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as schedulers stop a job: Ctrl-C
    sys.exit(_exit_code(sys.argv[1:] or ["--help"]))


def _exit_code(arguments: Sequence[str]) -> int:
    return exit_code_of(partial(invoke, arguments))
