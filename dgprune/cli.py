"""The command `dgprune`: every failure becomes one line and an exit code."""

import contextlib
import io
import os
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
from dgprune.options import AsJson, Quiet, SkipBadImages
from dgprune.output import finish
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

# typer carries its own copy of click, whose base of usage errors has no public name.
_UsageError: Any = typer.BadParameter.__base__
INTERRUPTED = 130
ChainOut = Annotated[
    Path, typer.Option(metavar="DIR", help="Folder of everything the chain makes.")
]


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
def recipe(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Nothing lists the names.")] = "",
) -> None:
    """Print a recipe with every default written out."""
    from dgprune.recipe import recipe_names, recipe_text

    typer.echo(recipe_text(name) if name else "\n".join(recipe_names()))


@app.command()
def inspect(
    folder: Annotated[Path, typer.Argument(metavar="CHECKPOINT|ARTEFACT", help="What to look at.")],
    as_json: AsJson = False,
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


def _check(recipe: Recipe, where: str) -> None:
    """Raises DgpruneError for any value that a later step would refuse."""
    try:
        pruning.cli.check_recipe(recipe)
        benchmark.cli.check_recipe(recipe)
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
    """Entry point: 0 success, 1 a verdict of no, 2 bad input, 3 inconclusive, 130 interrupted."""
    sys.exit(_exit_code(sys.argv[1:] or ["--help"]))


def _exit_code(arguments: Sequence[str]) -> int:
    try:
        result = invoke(arguments)
    except _UsageError as error:
        command = error.ctx.command_path if error.ctx else "dgprune"
        return _fail(f"{error.format_message()} (see {command} --help)")
    except DgpruneError as error:
        return _fail(str(error))
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted; the same command goes on where it stopped", file=sys.stderr)
        return INTERRUPTED
    except ModuleNotFoundError as error:
        return _fail(f"{error.name} is not installed; `dgprune doctor` says how to get it")
    except BrokenPipeError:  # `dgprune ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _fail(f"{error}; check the disk and the permissions")
    if isinstance(result, Done):
        return result.exit_code
    return result if isinstance(result, int) else 0


def _fail(message: str) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return 2
