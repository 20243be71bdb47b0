"""The stage `report`: records in, pages out."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from dgprune import __version__
from dgprune.errors import DgpruneError
from dgprune.progress import SILENT, Progress
from dgprune.records import Entry, read_records
from dgprune.schema import Json, canonical_json, digest, read_json
from dgprune.stage import Done
from dgprune.store import new_folder
from reports.figure import draw
from reports.render import html, markdown, pages
from reports.rows import Table, tables

MARKER = "report.json"


def report(files: Sequence[Path], out: Path, progress: Progress = SILENT) -> Done:
    """A folder `out` with report.html, report.md, the figures and the records they came from.

    The same records give the same bytes. Raises DgpruneError where `out` holds something else, or
    there is no record.
    """
    entries = _unique([entry for file in files for entry in read_records(file)])
    if not entries:
        raise DgpruneError(
            f"{', '.join(map(str, files))}: no record in it; run evaluate and bench first"
        )
    _require_ours(out)
    identity = {"version": __version__, "records": digest([entry.id for entry in entries])}
    found = tables(entries)
    if (out / MARKER).is_file() and read_json(out / MARKER) == identity:
        progress.line(f"already done: {out / 'report.html'}")
        return Done(path=out / "report.html", fresh=False, summary=summary(found))
    if out.exists():
        _write_over(out, files, entries, found, identity)
    else:
        with new_folder(out) as folder:
            _write(folder, files, entries, found, identity)
    return Done(path=out / "report.html", fresh=True, summary=summary(found))


def _unique(entries: Sequence[Entry]) -> list[Entry]:
    return list({entry.id: entry for entry in entries}.values())


def _require_ours(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise DgpruneError(f"--out {out} is a file; name a folder")
    if out.is_dir() and any(out.iterdir()) and not (out / MARKER).is_file():
        raise DgpruneError(f"--out {out} holds something else; name a new or empty folder")


def _write_over(
    out: Path, files: Sequence[Path], entries: list[Entry], found: tuple[Table, ...], identity: Json
) -> None:
    """Replaces a report by a newer one, which is whole before the old one goes."""
    fresh = out.with_name(f"{out.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    with new_folder(fresh) as folder:
        _write(folder, files, entries, found, identity)
    shutil.rmtree(out)
    fresh.replace(out)


def _write(
    folder: Path,
    files: Sequence[Path],
    entries: list[Entry],
    found: tuple[Table, ...],
    identity: Json,
) -> None:
    made = pages(found)
    for page in made:
        (folder / page.picture).write_bytes(draw(page.table, "png"))
    (folder / "report.html").write_text(html(made, entries), encoding="utf-8")
    (folder / "report.md").write_text(markdown(made, entries), encoding="utf-8")
    lines = dict.fromkeys(line for file in files for line in file.read_text("utf-8").splitlines())
    (folder / "records.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    (folder / MARKER).write_text(canonical_json(identity) + "\n")


def summary(found: Sequence[Table]) -> Json:
    """The rows of every table, for `--json` and for the terminal."""
    return {
        table.title: [
            {
                "file": row.subject.label,
                "unseen_accuracy": row.unseen.record.accuracy if row.unseen else None,
                "source_val_accuracy": row.source_accuracy,
                "macs_per_image": row.cost.macs_per_image,
                "speedup": {str(size): asdict(cell.interval) for size, cell in row.speed.items()},
            }
            for row in table.rows
        ]
        for table in found
    }
