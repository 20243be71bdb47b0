"""Records joined by the bytes they measured: one row a file, and nothing that was not measured."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from dgprune.lineage import spec_of
from dgprune.records import AccuracyRecord, Entry, LatencyRecord, Subject
from dgprune.statistics import (
    Interval,
    Verdict,
    accuracy_interval,
    judge,
    median_latency_s,
    speedup_interval,
)
from dgprune.structure import ModelCost, cost_of


@dataclass(frozen=True, kw_only=True)
class AccuracyCell:
    """Accuracy of one file on one domain, and the record it comes from."""

    record_id: str
    record: AccuracyRecord
    interval: Interval


@dataclass(frozen=True, kw_only=True)
class SpeedCell:
    """Speedup of one file over dense at one batch size, and the record it comes from."""

    record_id: str
    record: LatencyRecord
    interval: Interval
    verdict: Verdict
    latency_s: float
    baseline_latency_s: float


@dataclass(frozen=True, kw_only=True)
class Row:
    """One file: what it is, its accuracy by domain, its speedup by batch size."""

    subject: Subject
    cost: ModelCost
    accuracy: dict[str, AccuracyCell] = field(default_factory=dict)
    speed: dict[int, SpeedCell] = field(default_factory=dict)

    @property
    def criterion(self) -> str:
        """The criterion it was pruned by; `dense` where it was not."""
        spec = spec_of(self.subject.lineage, "prune")
        return str(spec["criterion"]) if spec else "dense"

    @property
    def budget(self) -> tuple[str, float]:
        """What pruning had to meet: the ratio of units to go, or of MACs or params to stay."""
        spec = spec_of(self.subject.lineage, "prune") or {}
        found = [(kind, float(spec[kind])) for kind in ("ratio", "macs", "params") if kind in spec]
        return found[0] if found else ("", 0.0)

    @property
    def is_trained(self) -> bool:
        """Whether its weights were ever trained on the data (random weights back no claim)."""
        return spec_of(self.subject.lineage, "finetune") is not None

    @property
    def unseen(self) -> AccuracyCell | None:
        """Its accuracy on the held-out domain, where it was measured."""
        return self.accuracy.get(self.subject.origin.target)

    @property
    def source_accuracy(self) -> float | None:
        """Mean accuracy over the validation parts of the source domains measured, if any."""
        cells = [cell for cell in self.accuracy.values() if cell.record.role == "source-val"]
        return sum(c.record.accuracy for c in cells) / len(cells) if cells else None


@dataclass(frozen=True, kw_only=True)
class Table:
    """All rows of one experiment: same model, input, data and held-out domain."""

    title: str
    target: str
    domains: tuple[str, ...]
    batch_sizes: tuple[int, ...]
    rows: tuple[Row, ...]
    controls: tuple[SpeedCell, ...]

    @property
    def dense(self) -> Row | None:
        """The model that was pruned."""
        return next((row for row in self.rows if row.criterion == "dense"), None)

    @property
    def missing(self) -> int:
        """Cells of the table for which there is no record."""
        accuracy = sum(len(self.domains) - len(row.accuracy) for row in self.rows)
        pruned = [row for row in self.rows if row.criterion != "dense"]
        return accuracy + sum(len(self.batch_sizes) - len(row.speed) for row in pruned)


def tables(entries: Sequence[Entry]) -> tuple[Table, ...]:
    """One table an experiment, rows in order of ratio and criterion."""
    groups: dict[tuple[str, ...], list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[_experiment(entry.record.subject)].append(entry)
    return tuple(_table(key, groups[key]) for key in sorted(groups))


def _experiment(subject: Subject) -> tuple[str, ...]:
    origin = subject.origin
    return origin.model, str(origin.preprocessing.image_size), origin.data_name, origin.target


def _table(key: tuple[str, ...], entries: list[Entry]) -> Table:
    model, image_size, data, target = key
    rows: dict[str, Row] = {}
    controls: list[SpeedCell] = []
    for entry in entries:
        subject = entry.record.subject
        row = rows.setdefault(subject.sha256, Row(subject=subject, cost=cost_of(subject.structure)))
        if isinstance(entry.record, AccuracyRecord):
            row.accuracy[entry.record.domain] = AccuracyCell(
                record_id=entry.id, record=entry.record, interval=accuracy_interval(entry.record)
            )
        elif entry.record.baseline is not None:
            cell = _speed_cell(entry.id, entry.record)
            if entry.record.baseline.sha256 == subject.sha256:
                controls.append(cell)
            else:
                row.speed[entry.record.batch_size] = cell
    ordered = sorted(
        rows.values(), key=lambda row: (row.budget, row.subject.label, row.subject.sha256)
    )
    return Table(
        title=f"{model} at {image_size} px on {data}, {target} held out",
        target=target,
        domains=tuple(sorted({domain for row in ordered for domain in row.accuracy})),
        batch_sizes=tuple(sorted({size for row in ordered for size in row.speed})),
        rows=tuple(ordered),
        controls=tuple(sorted(controls, key=lambda cell: cell.record.batch_size)),
    )


def _speed_cell(record_id: str, record: LatencyRecord) -> SpeedCell:
    return SpeedCell(
        record_id=record_id,
        record=record,
        interval=speedup_interval(record.blocks),
        verdict=judge(record),
        latency_s=median_latency_s(record),
        baseline_latency_s=median_latency_s(record, "baseline"),
    )
