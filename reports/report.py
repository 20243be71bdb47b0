"""The stage `report`: records in, pages out."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from dgprune.errors import DgpruneError
from dgprune.progress import SILENT, Progress
from dgprune.records import Entry, read_records
from dgprune.schema import Json
from dgprune.stage import Done
from dgprune.store import lines_text
from reports.beside import files_beside
from reports.charts.draw import png
from reports.charts.over_commits import panels
from reports.charts.placed import experiments
from reports.charts.tradeoff import tradeoff
from reports.claim import claims, file_name, text_of
from reports.data.parquet import is_available
from reports.folder import publish
from reports.history import History, load_history, point_lines
from reports.history_page import history_pages
from reports.listing import listing
from reports.over_targets_section import OVER_TARGETS, over_targets_summary
from reports.recipe import row_name
from reports.render import Page, html, markdown, pages
from reports.rows import Table, tables

PAGE, RECORDS, HISTORY = "report.html", "records.jsonl", "history.jsonl"


def report(
    files: Sequence[Path], out: Path, progress: Progress = SILENT, history: Path | None = None
) -> Done:
    """A folder `out` with report.html, report.md, the figures and the records they came from.

    `history` is a folder of runs that `make bench` stored. The same records and runs give the same
    bytes. Raises DgpruneError where `out` holds something else, or there is no record.
    """
    entries = _unique([entry for file in files for entry in read_records(file)])
    if not entries:
        raise DgpruneError(
            f"{', '.join(map(str, files))}: no record in it; run evaluate and bench first"
        )
    histories = load_history(history) if history else ()
    lines = [line for file in files for line in lines_text(file).splitlines()]
    fresh = publish(
        out,
        _made_of(entries, histories),
        lambda: contents(entries, lines, histories, parquet=is_available()),
    )
    if not fresh:
        progress.line(f"already done: {out / PAGE}")
    return Done(path=out / PAGE, fresh=fresh, summary=summary(tables(entries)))


def _made_of(entries: Sequence[Entry], histories: Sequence[History]) -> Json:
    made_of: Json = {"records": [entry.id for entry in entries], "parquet": is_available()}
    return made_of | ({"history": point_lines(histories)} if histories else {})


def _unique(entries: Sequence[Entry]) -> list[Entry]:
    return list({entry.id: entry for entry in entries}.values())


def contents(
    entries: Sequence[Entry],
    lines: Sequence[str],
    histories: Sequence[History] = (),
    *,
    parquet: bool,
) -> dict[str, bytes]:
    """Every file of a report but its marker, from records and the lines that they were read from.

    A pure function: `verify` makes them again and compares. `parquet` tells whether the report has
    Parquet; where it cannot be written here, its bytes are missing from what is given.
    """
    found = tables(entries)
    made, drawn = pages(found), history_pages(histories)
    beside = files_beside(entries, found, parquet=parquet and is_available())
    listed = listing(list(beside), parquet=parquet)
    pictures = _pictures(made) | {
        page.picture: png(panels(page.history, number)) for number, page in enumerate(drawn, 1)
    }
    texts = {
        PAGE: html(made, entries, drawn, listed),
        "report.md": markdown(made, entries, drawn, listed),
        RECORDS: "".join(f"{line}\n" for line in dict.fromkeys(lines)),
        **({HISTORY: point_lines(histories)} if histories else {}),
        **{file_name(claim): text_of(claim) for claim in claims(entries)},
    }
    return beside | pictures | {name: text.encode() for name, text in texts.items()}


def _pictures(made: Sequence[Page]) -> dict[str, bytes]:
    """The chart of each experiment, as Markdown shows it."""
    drawn = ((page.picture, tradeoff(experiments([page.table]))) for page in made)
    return {name: png(chart) for name, chart in drawn if name and chart}


def summary(found: Sequence[Table]) -> Json:
    """The rows of every table, and what holds over targets and seeds, for `--json` and people."""
    rows: Json = {
        table.title: [
            {
                "file": row_name(row, table),
                table.setting.key: row.held_out.accuracy if row.held_out else None,
                "source_val_accuracy": row.source_accuracy,
                "macs_per_image": row.cost.macs_per_image,
                "speedup": {str(size): asdict(cell.interval) for size, cell in row.speed.items()},
            }
            for row in table.rows
        ]
        for table in found
    }
    over = over_targets_summary(found)
    return rows | ({OVER_TARGETS: over} if over else {})
