"""`dgprune report` and `dgprune verify`."""

from pathlib import Path
from typing import Annotated

import typer

from dgprune.options import AsJson, Quiet
from dgprune.output import finish
from dgprune.progress import progress_for
from dgprune.stage import Done


def report(
    records: Annotated[
        list[Path] | None, typer.Argument(metavar="RECORDS", help="Records files.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The report's folder.")] = Path(
        "runs/report"
    ),
    history: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Runs that make bench stored, drawn over commits."),
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="A B", help="Two records files or reports, set side by side."),
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Show the page on a local address until Ctrl-C.")
    ] = False,
    port: Annotated[
        int, typer.Option(metavar="N", help="Port of --serve; 0 is any that is free.")
    ] = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> Done:
    """Write the HTML and Markdown report; prints the path of the page."""
    from reports.asked import ReportSpec, write_report
    from reports.terminal import show

    spec = ReportSpec(records=tuple(records or ()), out=out, history=history, compare=compare)
    done = write_report(spec, progress_for(quiet=quiet))
    if not quiet:
        show(done.summary)
    finish(done, as_json=as_json)
    if serve:
        from reports.serve import serve as run

        run(done.path, progress_for(quiet=False), port)  # the address must be known
    return done


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
