"""The stage `report`: records in, pages out."""

from collections.abc import Sequence
from pathlib import Path

from dgprune.collection import no_collection
from dgprune.errors import DgpruneError
from dgprune.progress import SILENT, Progress
from dgprune.schema import Json, encode
from dgprune.stage import Done
from reports.beside import files_beside
from reports.charts.chart import Chart
from reports.charts.over_commits import panels
from reports.charts.pictures import Pictures
from reports.charts.placed import experiments
from reports.charts.tradeoff import tradeoff
from reports.claim import file_name, text_of
from reports.data.parquet import is_available
from reports.folder import publish
from reports.history import load_history, point_lines
from reports.history_page import HistoryPage, history_pages
from reports.listing import listing
from reports.material import Material
from reports.missing import missing_summary, read_files
from reports.over_targets_section import OVER_TARGETS, over_targets_summary
from reports.recipe import row_name
from reports.render import html, markdown, picture_of, whole
from reports.times import as_json

PAGE, RECORDS, HISTORY = "report.html", "records.jsonl", "history.jsonl"


def report(
    files: Sequence[Path], out: Path, progress: Progress = SILENT, history: Path | None = None
) -> Done:
    """A folder `out` with report.html, report.md, the figures and the records they came from.

    `history` is a folder of runs that `make bench` stored. The same records and runs give the same
    bytes. Raises DgpruneError where `out` holds something else, or there is no record.
    """
    with no_collection():
        entries, missing, lines = read_files(files)
    if not entries and not missing:
        raise DgpruneError(
            f"{', '.join(map(str, files))}: no record in it; run evaluate and bench first"
        )
    material = Material(
        entries=tuple(entries),
        missing=tuple(missing),
        histories=load_history(history) if history else (),
    )
    with no_collection():
        fresh = publish(
            out, _made_of(material), lambda: contents(material, lines, parquet=is_available())
        )
        told = summary(material)
    if not fresh:
        progress.line(f"already done: {out / PAGE}")
    return Done(path=out / PAGE, fresh=fresh, summary=told)


def _made_of(material: Material) -> Json:
    return {
        "records": [entry.id for entry in material.entries],
        "missing": [encode(one) for one in material.missing],
        "history": point_lines(material.histories),
        "parquet": is_available(),
    }


def contents(material: Material, lines: Sequence[str], *, parquet: bool) -> dict[str, bytes]:
    """Every file of a report but its marker, of records and the lines that they were read from.

    A pure function: `verify` makes them again and compares. `parquet` tells whether the report has
    Parquet; where it cannot be written here, its bytes are missing from what is given.
    """
    drawn = history_pages(material.histories)
    pictures = Pictures(_drawn(material, drawn))
    beside = files_beside(material, parquet=parquet and is_available())
    made = whole(material, drawn, listing(list(beside), parquet=parquet))
    kept = {HISTORY: point_lines(material.histories)} if material.histories else {}
    texts = {
        "report.md": markdown(made),
        PAGE: html(made, pictures),
        RECORDS: "".join(f"{line}\n" for line in dict.fromkeys(lines)),
        **kept,
        **{file_name(claim): text_of(claim) for claim in made.claims},
    }
    return beside | pictures.png | {name: text.encode() for name, text in texts.items()}


def _drawn(material: Material, histories: Sequence[HistoryPage]) -> dict[str, Chart]:
    """What Markdown shows as pictures: the chart of each experiment, and the histories."""
    named = [(picture_of(table, n), table) for n, table in enumerate(material.tables, 1)]
    found = {name: tradeoff(experiments([table])) for name, table in named if name}
    over = {page.picture: panels(page.history, n) for n, page in enumerate(histories, 1)}
    return {name: chart for name, chart in found.items() if chart} | over


def summary(material: Material) -> Json:
    """The rows of every table, what holds over targets and seeds, what is missing; for `--json`."""
    rows: Json = {
        table.title: [
            {
                "file": row_name(row, table),
                table.setting.key: row.held_out.accuracy if row.held_out else None,
                "source_val_accuracy": row.source_accuracy,
                "macs_per_image": row.cost.macs_per_image,
                "speedup": {
                    str(size): as_json(cell.interval) | {"verdict": cell.verdict.value}
                    for size, cell in row.speed.items()
                },
            }
            for row in table.rows
        ]
        for table in material.tables
    }
    over = over_targets_summary(material.tables, material.missing)
    return rows | ({OVER_TARGETS: over} if over else {}) | missing_summary(material.missing)
