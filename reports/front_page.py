"""What a reader sees first: the summary in words, and what limits every number."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from dgprune.records import Entry
from reports.rows import Table
from reports.summary import sentences, warnings

_MOST_SENTENCES = 12


@dataclass(frozen=True, kw_only=True)
class FrontPage:
    """`sentences` are (number of the experiment, text); `warnings` hold for all of them.

    `own` are the warnings of one experiment alone, experiment by experiment.
    """

    counted: str
    sentences: tuple[tuple[int, str], ...]
    left_out: int
    warnings: tuple[str, ...]
    own: tuple[tuple[str, ...], ...]


def front_page(tables: Sequence[Table], entries: Sequence[Entry]) -> FrontPage:
    """The front page of `tables`, which were made of `entries`."""
    told = [(number, text) for number, table in enumerate(tables, 1) for text in sentences(table)]
    limits = [warnings(table) for table in tables]
    times = Counter(text for found in limits for text in dict.fromkeys(found))
    shared = [text for text, count in times.items() if count == len(tables)]
    missing = sum(table.missing for table in tables)
    if missing and len(tables) > 1:
        shared.insert(0, f"{missing} cell(s) were not measured, over all experiments.")
    return FrontPage(
        counted=_counted(tables, entries),
        sentences=tuple(told[:_MOST_SENTENCES]),
        left_out=len(told[_MOST_SENTENCES:]),
        warnings=tuple(shared),
        own=tuple(tuple(text for text in found if text not in shared) for found in limits),
    )


def _counted(tables: Sequence[Table], entries: Sequence[Entry]) -> str:
    files = len({entry.record.subject.sha256 for entry in entries})
    return f"{len(entries)} records of {files} files in {len(tables)} experiments"
