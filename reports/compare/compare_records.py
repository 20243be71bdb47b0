"""The stage `report --compare`: two sets of records in, one page out."""

from collections.abc import Sequence
from pathlib import Path

from dgprune.errors import DgpruneError
from dgprune.missing import read_all
from dgprune.progress import SILENT, Progress
from dgprune.record_lines import raw_lines
from dgprune.records import Entry
from dgprune.schema import Json
from dgprune.stage import Done
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
    texts = [raw_lines(file) for file in files]
    sets = [_entries(file, lines) for file, lines in zip(files, texts, strict=True)]
    fresh = publish(
        out,
        {COMPARED: [[entry.id for entry in entries] for entries in sets]},
        lambda: _contents(texts, sets),
    )
    if not fresh:
        progress.line(f"already done: {out / PAGE}")
    return Done(path=out / PAGE, fresh=fresh, summary=_summary(sets))


def _entries(file: Path, lines: Sequence[str]) -> list[Entry]:
    measured, _ = read_all(file, lines)
    found = list({entry.id: entry for entry in measured}.values())
    if not found:
        raise DgpruneError(f"{file}: no record in it; run evaluate and bench first")
    return found


def _contents(texts: Sequence[Sequence[str]], sets: list[list[Entry]]) -> dict[str, bytes]:
    kept = ["".join(f"{line}\n" for line in dict.fromkeys(lines)).encode() for lines in texts]
    return comparison_pages(*sets) | dict(zip((FIRST, SECOND), kept, strict=True))


def made_again(folder: Path) -> dict[str, bytes]:
    """Every file of a comparison but its marker, from the records that it keeps."""
    files = [folder / FIRST, folder / SECOND]
    texts = [raw_lines(file) for file in files]
    sets = [_entries(file, lines) for file, lines in zip(files, texts, strict=True)]
    return _contents(texts, sets)


def _summary(sets: list[list[Entry]]) -> Json:
    found = compare(*(tables(entries) for entries in sets))
    return {COMPARED: words(found), "warnings": warnings(found)}
