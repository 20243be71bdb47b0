"""The stage `report --compare`: two sets of records in, one page out."""

from pathlib import Path

from dgprune.errors import DgpruneError
from dgprune.progress import SILENT, Progress
from dgprune.records import Entry, read_records
from dgprune.schema import Json
from dgprune.stage import Done
from dgprune.store import json_lines, lines_text
from reports.compare.matched import compare
from reports.compare.page import FIRST, PAGE, SECOND, comparison_pages
from reports.compare.sections import COMPARED, warnings, words
from reports.folder import publish
from reports.report import RECORDS
from reports.rows import tables


def compare_records(first: Path, second: Path, out: Path, progress: Progress = SILENT) -> Done:
    """A folder `out` with compare.html, compare.md and both sets of records.

    Each of the two is a file of records, or the folder of a report. The same records give the same
    bytes. Raises DgpruneError where `out` holds something else, or a set has no record.
    """
    files = [path / RECORDS if path.is_dir() else path for path in (first, second)]
    for file in files:
        if file.parent.resolve() == out.resolve():
            raise DgpruneError(f"--out {out} holds {file.name}, which is compared; name another")
    sets = [_entries(file) for file in files]
    fresh = publish(
        out,
        {COMPARED: [[entry.id for entry in entries] for entries in sets]},
        lambda: _contents(files, sets),
    )
    if not fresh:
        progress.line(f"already done: {out / PAGE}")
    return Done(path=out / PAGE, fresh=fresh, summary=_summary(sets))


def _entries(file: Path) -> list[Entry]:
    found = list({entry.id: entry for entry in read_records(file)}.values())
    if not found:
        raise DgpruneError(f"{file}: no record in it; run evaluate and bench first")
    return found


def _contents(files: list[Path], sets: list[list[Entry]]) -> dict[str, bytes]:
    texts = [_kept(file) for file in files]
    return comparison_pages(*sets) | dict(zip((FIRST, SECOND), texts, strict=True))


def _kept(file: Path) -> bytes:
    lines = dict.fromkeys(json_lines(lines_text(file)))
    return "".join(f"{line}\n" for line in lines).encode()


def made_again(folder: Path) -> dict[str, bytes]:
    """Every file of a comparison but its marker, from the records that it keeps."""
    files = [folder / FIRST, folder / SECOND]
    return _contents(files, [_entries(file) for file in files])


def _summary(sets: list[list[Entry]]) -> Json:
    found = compare(*(tables(entries) for entries in sets))
    return {COMPARED: words(found), "warnings": warnings(found)}
