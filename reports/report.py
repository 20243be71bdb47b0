"""The stage `report`: records in, pages out."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from dgprune import __version__
from dgprune.errors import DgpruneError
from dgprune.progress import SILENT, Progress
from dgprune.records import Entry, read_records
from dgprune.schema import Json, digest, file_sha256
from dgprune.stage import Done
from dgprune.store import claim, explained, json_lines, lines_text, new_folder
from reports.beside import files_beside
from reports.claim import claims, file_name, text_of
from reports.data.parquet import is_available
from reports.figure import draw
from reports.folder import MARKER, is_intact, read_manifest, replace_report, write_files
from reports.history import History, load_history, point_lines
from reports.history_figure import draw_history
from reports.history_page import history_pages
from reports.listing import listing
from reports.over_targets_section import OVER_TARGETS, over_targets_summary
from reports.recipe import row_name
from reports.render import html, markdown, pages
from reports.rows import Table, tables

RECORDS, HISTORY = "records.jsonl", "history.jsonl"


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
    _require_ours(out)
    histories = load_history(history) if history else ()
    identity = _identity(entries, histories)
    found = tables(entries)
    old = read_manifest(out)
    if old["identity"] == identity and is_intact(out, old["files"]):
        progress.line(f"already done: {out / 'report.html'}")
        return Done(path=out / "report.html", fresh=False, summary=summary(found))
    with explained(out):
        claim(out.parent)
        shutil.rmtree(out / ".new", ignore_errors=True)  # of a run that was killed
    with new_folder(out if not out.exists() else out / ".new") as folder:
        lines = [line for file in files for line in json_lines(lines_text(file))]
        made = contents(entries, lines, histories, parquet=is_available())
        write_files(folder, made, identity, __version__)
    if (out / ".new").is_dir():
        replace_report(out, out / ".new", old["files"])
    return Done(path=out / "report.html", fresh=True, summary=summary(found))


def _identity(entries: Sequence[Entry], histories: Sequence[History]) -> str:
    made_of: Json = {"version": __version__, "code": _code(), "records": [e.id for e in entries]}
    made_of |= {"parquet": is_available()}
    return digest(made_of | ({"history": point_lines(histories)} if histories else {}))


def _code() -> str:
    """Digest of what draws a page: one that an older state of it drew is drawn again."""
    files = (path for kind in ("*.py", "*.j2") for path in Path(__file__).parent.rglob(kind))
    return digest([[path.name, file_sha256(path)] for path in sorted(files)])


def _unique(entries: Sequence[Entry]) -> list[Entry]:
    return list({entry.id: entry for entry in entries}.values())


def _require_ours(out: Path) -> None:
    with explained(out):
        if out.exists() and not out.is_dir():
            raise DgpruneError(f"--out {out} is a file; name a folder")
        if out.is_dir() and any(out.iterdir()) and not (out / MARKER).is_file():
            raise DgpruneError(f"--out {out} holds something else; name a new or empty folder")


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
    pictures = {page.picture: draw(page.table, "png") for page in made if page.svg}
    pictures |= {page.picture: draw_history(page.history, "png") for page in drawn}
    texts = {
        "report.html": html(made, entries, drawn, listed),
        "report.md": markdown(made, entries, drawn, listed),
        RECORDS: "".join(f"{line}\n" for line in dict.fromkeys(lines)),
        **({HISTORY: point_lines(histories)} if histories else {}),
        **{file_name(claim): text_of(claim) for claim in claims(entries)},
    }
    return beside | pictures | {name: text.encode() for name, text in texts.items()}


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
