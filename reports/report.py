"""The stage `report`: records in, pages out."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from dgprune import __version__
from dgprune.collection import no_collection
from dgprune.errors import DgpruneError
from dgprune.progress import SILENT, Progress
from dgprune.records import Entry, read_records
from dgprune.schema import Json, canonical_json, digest, file_sha256, read_json
from dgprune.stage import Done
from dgprune.store import claim, explained, lines_text, new_folder
from reports.charts.draw import png
from reports.charts.over_commits import panels
from reports.charts.placed import experiments
from reports.charts.tradeoff import tradeoff
from reports.claim import file_name, text_of
from reports.history import History, load_history, point_lines
from reports.history_page import history_pages
from reports.over_targets_section import OVER_TARGETS, over_targets_summary
from reports.recipe import row_name
from reports.render import Page, html, markdown, whole
from reports.rows import Table, tables

MARKER = "report.json"
_DRAWN_BY = ("*.py", "*.j2", "*.css", "*.js")
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
    with no_collection():
        return _reported(files, out, progress, entries, histories)


def _reported(
    files: Sequence[Path],
    out: Path,
    progress: Progress,
    entries: list[Entry],
    histories: Sequence[History],
) -> Done:
    identity = _identity(entries, histories)
    found = tables(entries)
    old = _manifest(out)
    if old["identity"] == identity and _intact(out, old["files"]):
        progress.line(f"already done: {out / 'report.html'}")
        return Done(path=out / "report.html", fresh=False, summary=summary(found))
    with explained(out):
        claim(out.parent)
        shutil.rmtree(out / ".new", ignore_errors=True)  # of a run that was killed
    with new_folder(out if not out.exists() else out / ".new") as folder:
        _write(folder, files, entries, found, histories, identity)
    if (out / ".new").is_dir():
        _replace(out, old["files"])
    return Done(path=out / "report.html", fresh=True, summary=summary(found))


def _identity(entries: Sequence[Entry], histories: Sequence[History]) -> str:
    made_of = {"version": __version__, "code": _code(), "records": [e.id for e in entries]}
    return digest(made_of | ({"history": point_lines(histories)} if histories else {}))


def _code() -> str:
    """Digest of what draws a page: one that an older state of it drew is drawn again."""
    files = (path for kind in _DRAWN_BY for path in Path(__file__).parent.rglob(kind))
    return digest([[path.name, file_sha256(path)] for path in sorted(files)])


def _unique(entries: Sequence[Entry]) -> list[Entry]:
    return list({entry.id: entry for entry in entries}.values())


def _require_ours(out: Path) -> None:
    with explained(out):
        if out.exists() and not out.is_dir():
            raise DgpruneError(f"--out {out} is a file; name a folder")
        if out.is_dir() and any(out.iterdir()) and not (out / MARKER).is_file():
            raise DgpruneError(f"--out {out} holds something else; name a new or empty folder")


def _manifest(out: Path) -> Json:
    """Identity and file digests of the report in `out`; of none where there is no report."""
    if not (out / MARKER).is_file():
        return {"identity": None, "files": {}}
    value = read_json(out / MARKER)
    if not isinstance(value, dict) or not isinstance(value.get("files"), dict):
        raise DgpruneError(f"{out / MARKER} is not what dgprune wrote; name another --out")
    return {"identity": value.get("identity"), "files": value["files"]}


def _intact(out: Path, files: Json) -> bool:
    return all(
        (out / name).is_file() and file_sha256(out / name) == sha256
        for name, sha256 in files.items()
    )


def _replace(out: Path, old_files: Json) -> None:
    """Puts the new report in the place of the old one; files that are not of a report stay."""
    fresh = out / ".new"
    with explained(out):
        for name in old_files:
            if Path(name).name == name and not (fresh / name).exists():
                (out / name).unlink(missing_ok=True)
        for path in sorted(fresh.iterdir(), key=lambda path: path.name == MARKER):
            path.replace(out / path.name)  # the marker last: until then the old one does not fit
        fresh.rmdir()


def _write(
    folder: Path,
    files: Sequence[Path],
    entries: list[Entry],
    found: Sequence[Table],
    histories: Sequence[History],
    identity: str,
) -> None:
    lines = [line for file in files for line in lines_text(file).splitlines()]
    for name, data in contents(entries, found, lines, histories).items():
        (folder / name).write_bytes(data)
    written = {path.name: file_sha256(path) for path in sorted(folder.iterdir())}
    manifest = {"identity": identity, "version": __version__, "files": written}
    (folder / MARKER).write_text(canonical_json(manifest) + "\n")


def contents(
    entries: Sequence[Entry],
    found: Sequence[Table],
    lines: Sequence[str],
    histories: Sequence[History] = (),
) -> dict[str, bytes]:
    """Every file of a report but its marker, from records, their tables and their lines.

    A pure function: `verify` makes them again and compares.
    """
    drawn = history_pages(histories)
    made = whole(entries, found, drawn)
    files = _pictures(made.pages) | {
        page.picture: png(panels(page.history, number)) for number, page in enumerate(drawn, 1)
    }
    texts = {
        "report.html": html(made),
        "report.md": markdown(made),
        RECORDS: "".join(f"{line}\n" for line in dict.fromkeys(lines)),
        **({HISTORY: point_lines(histories)} if histories else {}),
        **{file_name(claim): text_of(claim) for claim in made.claims},
    }
    return files | {name: text.encode() for name, text in texts.items()}


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
