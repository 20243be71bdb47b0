"""`dgprune report` and `dgprune verify`."""

from pathlib import Path
from typing import Annotated

import typer

from dgprune.options import AsJson, Quiet
from dgprune.output import finish
from dgprune.progress import progress_for
from dgprune.stage import Done


def report(
    records: Annotated[list[Path], typer.Argument(metavar="RECORDS...", help="Records files.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The report's folder.")] = Path(
        "runs/report"
    ),
    history: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Runs that make bench stored, drawn over commits."),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> Done:
    """Write the HTML and Markdown report; prints the path of the page."""
    from reports.report import report as run
    from reports.terminal import show

    done = run(records, out, progress_for(quiet=quiet), history)
    if not quiet:
        show(done.summary)
    return finish(done, as_json=as_json)


def verify(
    path: Annotated[
        Path, typer.Argument(metavar="REPORT|CLAIM", help="A report's folder or a claim's file.")
    ],
    artefact: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="An artefact whose bytes it must speak of; repeatable."),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> Done:
    """Compute every number again from the raw records; exits 1 where one differs."""
    from reports.verify import VerifySpec, show
    from reports.verify import verify as run

    done = run(VerifySpec(path=path, artefacts=tuple(artefact or ())))
    progress = progress_for(quiet=quiet and done.exit_code == 0)
    for line in show(done.summary):
        progress.line(line)
    return finish(done, as_json=as_json)
