"""Profile records as tables of the report: where the time goes, and where pruning saved it."""

from collections.abc import Sequence
from dataclasses import dataclass

from dgprune.kind_table import cells, header, kind_rows
from dgprune.records import Entry, ProfileRecord


@dataclass(frozen=True, kw_only=True)
class TimeTable:
    """One profile, ready to print."""

    record_id: str
    title: str
    header: list[str]
    rows: list[list[str]]


def time_tables(entries: Sequence[Entry]) -> list[TimeTable]:
    """A table a profile record, in the order of the records."""
    return [
        _table(entry.id, entry.record)
        for entry in entries
        if isinstance(entry.record, ProfileRecord)
    ]


def _table(record_id: str, record: ProfileRecord) -> TimeTable:
    baseline = record.baseline.label if record.baseline else None
    return TimeTable(
        record_id=record_id,
        title=profile_title(record),
        header=header(record.subject.label, baseline),
        rows=[cells(row) for row in kind_rows(record)],
    )


def profile_title(record: ProfileRecord) -> str:
    """What was profiled, in one line."""
    subject, runtime = record.subject, record.runtime
    against = f" against {record.baseline.label}" if record.baseline else ""
    return (
        f"{subject.label}{against}: {subject.origin.model}, {subject.format} {subject.precision} "
        f"on {runtime.name} ({runtime.provider}), batch {record.batch_size}"
    )
