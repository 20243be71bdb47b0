"""Profile records as tables of the report: where the time goes, and where pruning saved it."""

from collections.abc import Sequence

from dgprune.kind_table import cells, header, kind_rows
from dgprune.records import Entry, ProfileRecord
from reports.section import Section


def time_sections(entries: Sequence[Entry]) -> list[Section]:
    """A table a profile record, in the order of the records."""
    return [
        _section(entry.id, entry.record)
        for entry in entries
        if isinstance(entry.record, ProfileRecord)
    ]


def _section(record_id: str, record: ProfileRecord) -> Section:
    baseline = record.baseline.label if record.baseline else None
    return Section(
        title=f"Where the time goes: {profile_title(record)}",
        text="Time of every node the runtime executes, as its own profiler counts it, summed by "
        "what the node is for. Counting slows small nodes down: the sums say where the time goes, "
        f"the speedups above how long a call takes. From record {record_id}.",
        header=tuple(header(record.subject.label, baseline)),
        rows=tuple(tuple(cells(row)) for row in kind_rows(record)),
    )


def profile_title(record: ProfileRecord) -> str:
    """What was profiled, in one line."""
    subject, runtime = record.subject, record.runtime
    against = f" against {record.baseline.label}" if record.baseline else ""
    return (
        f"{subject.label}{against}: {subject.origin.model}, {subject.format} {subject.precision} "
        f"on {runtime.name} ({runtime.provider}), batch {record.batch_size}"
    )
