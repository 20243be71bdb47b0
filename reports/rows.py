"""Records joined by the bytes they measured: one row a file, and nothing that was not measured."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from dgprune.lineage import spec_of
from dgprune.records import (
    AccuracyRecord,
    Entry,
    LatencyRecord,
    ProfileRecord,
    Record,
    RuntimeSpec,
    Subject,
)
from dgprune.statistics import accuracy_interval, share_interval
from dgprune.structure import ModelCost, cost_of
from reports.accuracy_cells import AccuracyCell, HeldOut
from reports.controls import Controls, controls_among, printed, size_then_weight
from reports.recipe import budget_of, budget_text, checkpoint_of, criterion_of, names_of
from reports.setting import Setting, seed_of, setting_of
from reports.speed import SpeedCell, require_one_machine, speed_cell


@dataclass(frozen=True, kw_only=True)
class Row:
    """One file: what it is, its accuracy by domain, its speedup by batch size.

    `validation` is by domain too, where a domain has both: under the protocol paper-like.
    `held_out_domains` are those of the table of which images were held out; a file that is named
    later in the records has the larger `order`.
    """

    order: int
    subject: Subject
    cost: ModelCost
    held_out_domains: tuple[str, ...]
    accuracy: dict[str, AccuracyCell] = field(default_factory=dict)
    validation: dict[str, AccuracyCell] = field(default_factory=dict)
    speed: dict[int, SpeedCell] = field(default_factory=dict)

    @cached_property
    def criterion(self) -> str:
        """The criterion it was pruned by, and how where that is not plain; or `dense`."""
        return criterion_of(self.subject)

    @cached_property
    def budget(self) -> tuple[str, float]:
        """What pruning had to meet: a ratio to go, MACs or params to stay, a speedup to reach."""
        return budget_of(self.subject)

    @property
    def budget_text(self) -> str:
        """The budget, for a person."""
        return budget_text(*self.budget)

    @property
    def is_trained(self) -> bool:
        """Whether its weights were ever trained on the data (random weights back no claim)."""
        return spec_of(self.subject.lineage, "finetune") is not None

    @property
    def fallbacks(self) -> tuple[str, ...]:
        """What ran otherwise than asked, as the user allowed, in accuracy or latency."""
        proofs = [cell.record.proof for cell in self.accuracy.values()]
        for timed in self.speed.values():
            proofs += [timed.record.proof, timed.record.baseline_proof]
        return tuple(dict.fromkeys(text for proof in proofs if proof for text in proof.fallbacks))

    @cached_property
    def held_out(self) -> HeldOut | None:
        """Its accuracy on all images that were held out; None where some were not measured."""
        found = [self.accuracy.get(domain) for domain in self.held_out_domains]
        cells = [cell for cell in found if cell is not None]
        if not cells or len(cells) < len(found):
            return None
        correct, images = (sum(getattr(c.record, n) for c in cells) for n in ("correct", "images"))
        return HeldOut(
            interval=share_interval(correct, images),
            record_ids=tuple(cell.record_id for cell in cells),
        )

    @property
    def unseen(self) -> AccuracyCell | None:
        """Its accuracy on the domain that was held out; None where none was."""
        return self.accuracy.get(self.subject.origin.target)

    @cached_property
    def source_accuracy(self) -> float | None:
        """Mean accuracy over the validation parts of the source domains measured, if any."""
        found = [*self.accuracy.values(), *self.validation.values()]
        cells = [cell for cell in found if cell.record.role == "source-val"]
        return sum(c.record.accuracy for c in cells) / len(cells) if cells else None


@dataclass(frozen=True, kw_only=True)
class Table:
    """All rows of one experiment: same model, input, data, held-out domain, `form` of file."""

    key: tuple[str, ...]
    title: str
    form: str
    setting: Setting
    runtime: RuntimeSpec
    domains: tuple[str, ...]
    validated: tuple[str, ...]
    batch_sizes: tuple[int, ...]
    rows: tuple[Row, ...]
    controls: tuple[SpeedCell, ...]
    timed: tuple[SpeedCell, ...]
    other_baselines: int

    @cached_property
    def by_sha256(self) -> dict[str, Row]:
        """Every row by the SHA-256 of its file."""
        return {row.subject.sha256: row for row in self.rows}

    @cached_property
    def names(self) -> dict[str, str]:
        """What every row is called here, by the SHA-256 of its file."""
        return names_of([row.subject for row in self.rows])

    @cached_property
    def dense_by_checkpoint(self) -> dict[str, Row]:
        """Dense rows by the digest of the checkpoint that they are."""
        dense = [row for row in reversed(self.rows) if row.criterion == "dense"]
        return {checkpoint_of(row.subject): row for row in dense}  # the first of equals stays

    @cached_property
    def dense_by_seed(self) -> dict[str, list[Row]]:
        """Dense rows by the seed of their training."""
        found: dict[str, list[Row]] = defaultdict(list)
        for row in self.rows:
            if row.criterion == "dense":
                found[seed_of(row.subject)].append(row)
        return dict(found)

    @property
    def dense(self) -> Row | None:
        """The model that was pruned."""
        return next((row for row in self.rows if row.criterion == "dense"), None)

    @property
    def missing(self) -> int:
        """Cells of the table for which there is no record."""
        asked = len(self.domains) + len(self.validated)
        accuracy = sum(asked - len(row.accuracy) - len(row.validation) for row in self.rows)
        pruned = [row for row in self.rows if row.criterion != "dense"]
        return accuracy + sum(len(self.batch_sizes) - len(row.speed) for row in pruned)


def tables(entries: Sequence[Entry]) -> tuple[Table, ...]:
    """One table an experiment, rows in order of budget and name."""
    groups: dict[tuple[str, ...], list[Entry]] = defaultdict(list)
    for entry in entries:
        if not isinstance(entry.record, ProfileRecord):  # those have tables of their own
            groups[experiment_of(entry.record)].append(entry)
    worth = {key for key, group in groups.items() if not all(map(_is_control, group))} or groups
    controls = controls_among(entries)
    return tuple(_table(groups[key], controls) for key in sorted(worth))


def _is_control(entry: Entry) -> bool:
    """Whether an entry only says how a file compares with itself."""
    return isinstance(entry.record, LatencyRecord) and entry.record.is_control


def experiment_of(record: Record) -> tuple[str, ...]:
    """What one table holds: one setting, model and data, in one format, on one runtime.

    Accuracy and latency of a file stand together only where the same runtime computed both.
    """
    subject, runtime = record.subject, record.runtime
    origin = subject.origin
    size = str(origin.preprocessing.image_size)
    data = (origin.data_name, origin.target, origin.data_digest, origin.split_digest)
    executed = (subject.format, subject.precision, runtime.name, runtime.provider)
    return (setting_of(subject).section, origin.model, size, *data, *executed)


def _table(entries: list[Entry], controls: Controls) -> Table:
    rows = _measured_rows(entries)
    dense = {sha for sha, row in rows.items() if row.criterion == "dense"}
    timed = [
        speed_cell(e.id, e.record, controls.of(e.record))
        for e in entries
        if isinstance(e.record, LatencyRecord) and e.record.varies == "network"
    ]
    paired = [cell for cell in timed if cell is not None]
    over_dense = [cell for cell in paired if cell.baseline_sha256 in dense]
    require_one_machine(over_dense)
    alone = [cell for cell in over_dense if cell.record.is_control]
    for cell in sorted(over_dense, key=size_then_weight):  # what backs it best comes last and stays
        if not cell.record.is_control:
            rows[cell.record.subject.sha256].speed[cell.record.batch_size] = cell
    shown = [cell for row in rows.values() for cell in row.speed.values()]
    ordered = sorted(rows.values(), key=_place)
    first = entries[0].record
    origin, setting = first.subject.origin, setting_of(first.subject)
    form = f"{first.subject.format} {first.subject.precision}"
    return Table(
        key=experiment_of(first),
        runtime=first.runtime,
        title=f"{setting.section}: "
        * bool(setting.section)
        + f"{origin.model} at {origin.preprocessing.image_size} px on {origin.data_name}, "
        f"{setting.held_out} ({form} on {first.runtime.name}, {first.runtime.provider})",
        form=form,
        setting=setting,
        domains=tuple(sorted({domain for row in ordered for domain in row.accuracy})),
        validated=tuple(sorted({domain for row in ordered for domain in row.validation})),
        batch_sizes=tuple(sorted({size for row in ordered for size in row.speed})),
        rows=tuple(ordered),
        controls=printed(shown, alone),
        timed=tuple(paired),
        other_baselines=len(paired) - len(over_dense),
    )


def _place(row: Row) -> tuple[tuple[str, float], str, str, str]:
    return row.budget, row.subject.label, seed_of(row.subject), row.subject.sha256


def _measured_rows(entries: Sequence[Entry]) -> dict[str, Row]:
    """A row a file, by the SHA-256 of its bytes, with what was measured of its accuracy."""
    measured = [e.record for e in entries if isinstance(e.record, AccuracyRecord)]
    held_out = tuple(sorted({r.domain for r in measured if r.role != "source-val"}))
    rows: dict[str, Row] = {}
    for entry in entries:
        record, subject = entry.record, entry.record.subject
        cost, order = cost_of(subject.structure), len(rows)
        new = Row(order=order, subject=subject, cost=cost, held_out_domains=held_out)
        row = rows.setdefault(subject.sha256, new)
        if isinstance(record, AccuracyRecord):
            beside = record.role == "source-val" and not subject.origin.target
            (row.validation if beside else row.accuracy)[record.domain] = AccuracyCell(
                record_id=entry.id, record=record, interval=accuracy_interval(record)
            )
    return rows
