"""`dgprune data`: known data sets, a check of a folder, and the decoded cache."""

import json
from pathlib import Path
from typing import Annotated

import typer

from dgprune.errors import DgpruneError
from dgprune.options import AsJson, Quiet
from dgprune.output import finish, say
from dgprune.progress import progress_for
from dgprune.stage import Done

app = typer.Typer(
    name="data", help="Known data sets, a check of a folder, and the cache of decoded images."
)


@app.callback(invoke_without_command=True)
def data(context: typer.Context, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Known data sets, a check of a folder, and the cache of decoded images."""
    if context.invoked_subcommand is None:
        list_known(as_json=as_json)
    elif as_json or quiet:
        raise DgpruneError(f"--json and --quiet stand behind data {context.invoked_subcommand}")


@app.command("list")
def list_known(as_json: AsJson = False, quiet: Quiet = False) -> None:
    """List the known data sets: domains, classes, counts, and where each archive is."""
    from dgprune.data.check_report import known_lines, known_sets

    say(json.dumps({"known": known_sets()}) if as_json else "\n".join(known_lines()))


@app.command()
def check(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder of the shape domain/class/image.")
    ],
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="pacs, office-home, vlcs, terra-incognita or domainnet (default: by its domains).",
        ),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> Done:
    """Decode every image and compare with what was published; exits 1 where something is wrong."""
    from dgprune.data.check import CheckSpec, check_folder
    from dgprune.data.check_report import lines, show_table, summary

    found = check_folder(CheckSpec(root=folder, name=name), progress_for(quiet=quiet))
    if not quiet:
        show_table(found)
    progress = progress_for(quiet=quiet and not found.problems)
    for line in lines(found):
        progress.line(line)
    exit_code = 1 if found.problems else 0
    done = Done(path=folder, fresh=True, summary=summary(found), exit_code=exit_code)
    return finish(done, as_json=as_json)


@app.command()
def clear_cache(as_json: AsJson = False, quiet: Quiet = False) -> Done:
    """Remove every decoded image that was kept; they are decoded again when next needed."""
    from dgprune.cache import CACHE, image_cache
    from dgprune.data.cache_folders import clear

    cache = image_cache()
    if cache is None:
        raise DgpruneError(f"{CACHE}=off: no cache is in use; unset it to clear the one at home")
    cleared = clear(cache)
    progress = progress_for(quiet=quiet)
    progress.line(f"removed {cleared.freed_bytes / 1e6:.1f} MB of decoded images")
    if cleared.in_use:
        progress.line(f"left {cleared.in_use} domain(s) that are being decoded right now")
    summary = {"freed_bytes": cleared.freed_bytes, "in_use": cleared.in_use}
    return finish(
        Done(path=cache, fresh=bool(cleared.freed_bytes), summary=summary), as_json=as_json
    )
