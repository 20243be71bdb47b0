"""`dgprune report`."""

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
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> Done:
    """Write the HTML and Markdown report; prints the path of the page."""
    from reports.report import report as run
    from reports.terminal import show

    done = run(records, out, progress_for(quiet=quiet))
    if not quiet:
        show(done.summary)
    return finish(done, as_json=as_json)
