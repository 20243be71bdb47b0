"""Every record with what the report knows of it: its table, its dense file, its verdict."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from dgprune.domain_metrics import agreement
from dgprune.errors import DgpruneError
from dgprune.judgement import interval_of
from dgprune.records import AccuracyRecord, Entry, LatencyRecord, RuntimeSpec, Subject
from dgprune.statistics import Interval, accuracy_interval, samples_ns, tail_latencies_s
from reports.accuracy_cells import AccuracyCell
from reports.controls import controls_among
from reports.recipe import dense_of
from reports.rows import Row, Table, experiment_of
from reports.speed import SpeedCell, speed_cell


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """A row of the report: one file on one runtime."""

    row: Row
    table: Table

    @property
    def runtime(self) -> RuntimeSpec:
        """What timed it, or where nothing did, what evaluated it."""
        timed = [cell.record.runtime for cell in self.row.speed.values()]
        seen = [cell.record.runtime for cell in self._accuracies]
        return next(iter((*timed, *seen)), self.table.runtime)

    @property
    def record_ids(self) -> tuple[str, ...]:
        """Of all records that the row is made of."""
        accuracies = [cell.record_id for cell in self._accuracies]
        return (*accuracies, *(cell.record_id for cell in self.row.speed.values()))

    @property
    def _accuracies(self) -> tuple[AccuracyCell, ...]:
        return (*self.row.accuracy.values(), *self.row.validation.values())


@dataclass(frozen=True, kw_only=True)
class AccuracyFacts:
    """An accuracy record; `agreement` is with the dense file, None where it is not known."""

    id: str
    record: AccuracyRecord
    interval: Interval
    is_shown: bool
    dense: Subject | None
    agreement: float | None


@dataclass(frozen=True, kw_only=True)
class LatencyFacts:
    """A latency record; `cell` is None where a file was timed alone, or nothing was measured."""

    id: str
    record: LatencyRecord
    cell: SpeedCell | None
    is_shown: bool
    control_id: str
    control: Interval | None

    @cached_property
    def samples(self) -> int:
        """Calls of the file that count."""
        return len(samples_ns(self.record))

    @cached_property
    def tails_s(self) -> dict[float, float | None]:
        """Quantiles of a call; of none where none counts."""
        return tail_latencies_s(self.record) if self.samples else {}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that the files of a report are written from."""

    files: tuple[FileFacts, ...]
    accuracy: tuple[AccuracyFacts, ...]
    latency: tuple[LatencyFacts, ...]


def facts_of(entries: Sequence[Entry], tables: Sequence[Table]) -> Facts:
    """The facts of all records, in the order of tables and records."""
    return Facts(
        files=tuple(FileFacts(row=row, table=table) for table in tables for row in table.rows),
        accuracy=_accuracy(entries, tables),
        latency=_latency(entries, tables),
    )


def _accuracy(entries: Sequence[Entry], tables: Sequence[Table]) -> tuple[AccuracyFacts, ...]:
    places = {(table.key, sha): (table.by_sha256[sha], table)
              for table in tables for sha in table.by_sha256}  # fmt: skip
    dense = {key: dense_of(row, table) for key, (row, table) in places.items()}
    found = []
    for entry in entries:
        if not isinstance(entry.record, AccuracyRecord):
            continue
        key = (experiment_of(entry.record), entry.record.subject.sha256)
        row, parent = places[key][0], dense[key]
        shown = _cell(row, entry.record)
        against = _cell(parent, entry.record) if parent else None
        found.append(
            AccuracyFacts(
                id=entry.id,
                record=entry.record,
                interval=accuracy_interval(entry.record),
                is_shown=shown is not None and shown.record_id == entry.id,
                dense=parent.subject if parent else None,
                agreement=_agreement(entry.record, against.record if against else None),
            )
        )
    return tuple(found)


def _cell(row: Row, record: AccuracyRecord) -> AccuracyCell | None:
    """The cell of `row` that `record` is of."""
    validates = record.role == "source-val" and not row.subject.origin.target
    return (row.validation if validates else row.accuracy).get(record.domain)


def _agreement(record: AccuracyRecord, dense: AccuracyRecord | None) -> float | None:
    if dense is None:
        return None
    try:
        return agreement(record, dense)
    except DgpruneError:  # other images: there is nothing to compare
        return None


def _latency(entries: Sequence[Entry], tables: Sequence[Table]) -> tuple[LatencyFacts, ...]:
    timed = [entry for entry in entries if isinstance(entry.record, LatencyRecord)]
    controls = controls_among(entries)
    known = {cell.record_id: cell for table in tables for cell in table.timed}
    shown = _shown(tables)
    found = []
    for entry in timed:
        record = entry.record
        assert isinstance(record, LatencyRecord)
        control = controls.of(record)
        found.append(
            LatencyFacts(
                id=entry.id,
                record=record,
                cell=known.get(entry.id) or speed_cell(entry.id, record, control),
                is_shown=entry.id in shown,
                control_id=control.id if control else "",
                control=interval_of(control.record) if control else None,
            )
        )
    return tuple(found)


def _shown(tables: Sequence[Table]) -> set[str]:
    rows = [row for table in tables for row in table.rows]
    cells = [cell for row in rows for cell in row.speed.values()]
    cells += [cell for table in tables for cell in table.controls]
    return {cell.record_id for cell in cells}
