"""Every record, file by file: what a number of the report links to."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from dgprune.records import AccuracyRecord, Entry, ProfileRecord, Subject
from reports.where_time_goes import profile_title


@dataclass(frozen=True, kw_only=True)
class MeasuredFile:
    """One file, every stage that led to it, and its records: id and what was measured."""

    label: str
    sha256: str
    made_by: str
    records: list[tuple[str, str]] = field(default_factory=list)


_SHORTEST = 8  # as the tables of a repository print it


def short_ids(entries: Sequence[Entry]) -> dict[str, str]:
    """What names each record on a page: as much of its id as no other one of them starts with."""
    ids = [entry.id for entry in entries]
    lengths = range(_SHORTEST, max(map(len, ids), default=_SHORTEST) + 1)
    length = next(n for n in lengths if len({i[:n] for i in ids}) == len(set(ids)))
    return {i: i[:length] for i in ids}


def measured_files(entries: Sequence[Entry]) -> list[MeasuredFile]:
    """Files in the order of their first record; where a file comes from is told once."""
    found: dict[str, MeasuredFile] = {}
    for entry in entries:
        subject = entry.record.subject
        if subject.sha256 not in found:
            found[subject.sha256] = MeasuredFile(
                label=subject.label, sha256=subject.sha256, made_by=_made_by(subject)
            )
        found[subject.sha256].records.append((entry.id, _what(entry)))
    return list(found.values())


def _what(entry: Entry) -> str:
    """What a record measured, in a few words."""
    record = entry.record
    if isinstance(record, AccuracyRecord):
        skipped = f", {record.skipped} skipped" if record.skipped else ""
        return f"{record.domain} ({record.role}): {record.correct} of {record.images}{skipped}"
    if isinstance(record, ProfileRecord):
        return f"{record.calls} calls node by node of {profile_title(record)}"
    against = f" against {record.baseline.label}" if record.baseline else ""
    samples = sum(len(block.durations_ns) for block in record.blocks)
    return f"batch {record.batch_size}{against}: {samples} samples"


def _made_by(subject: Subject) -> str:
    """Every stage from the first weights to the file, with its digest."""
    return " → ".join(f"{step.stage} {step.digest[:8]}" for step in subject.lineage)
