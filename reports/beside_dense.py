"""A file on its unseen domain, beside the dense file it was pruned from and that one in fp32."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dgprune.errors import DgpruneError
from dgprune.paired import Pairs, pairs_of
from dgprune.records import AccuracyRecord
from reports.recipe import checkpoint_of, dense_of
from reports.rows import Row, Table

FP32 = "fp32"
InFp32 = Mapping[tuple[str, ...], AccuracyRecord]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One file on its unseen domain.

    `over_dense` is against the dense file of the same precision, what pruning alone costs;
    `over_fp32` against the dense file in fp32 on the same runtime, what precision and pruning cost
    together. None where that file was not measured on the same images, and `over_fp32` also for a
    file in fp32.
    """

    record: AccuracyRecord
    over_dense: Pairs | None
    over_fp32: Pairs | None

    @property
    def accuracy(self) -> float:
        """On the unseen domain."""
        return self.record.accuracy


def dense_in_fp32(tables: Sequence[Table]) -> InFp32:
    """Dense files in fp32 on their unseen domain, by what executed them and by checkpoint."""
    return {
        (*_executed(row.unseen.record), checkpoint_of(row.subject)): row.unseen.record
        for table in tables
        for row in table.rows
        if row.criterion == "dense" and row.subject.precision == FP32 and row.unseen is not None
    }


def measured(row: Row, table: Table, in_fp32: InFp32) -> Measured:
    """`row`, which was measured on its unseen domain, beside both."""
    assert row.unseen is not None
    record, parent = row.unseen.record, dense_of(row, table)
    return Measured(
        record=record,
        over_dense=_pairs(record, parent.unseen.record if parent and parent.unseen else None),
        over_fp32=_pairs(record, _fp32_of(record, in_fp32)),
    )


def _fp32_of(record: AccuracyRecord, in_fp32: InFp32) -> AccuracyRecord | None:
    if record.subject.precision == FP32:
        return None
    steps = reversed(record.subject.lineage)  # weights that were fine-tuned later are nearer
    found = (in_fp32.get((*_executed(record), step.digest)) for step in steps)
    return next((one for one in found if one is not None), None)


def _executed(record: AccuracyRecord) -> tuple[str, str, str]:
    return (record.subject.format, record.runtime.name, record.runtime.provider)


def _pairs(record: AccuracyRecord, dense: AccuracyRecord | None) -> Pairs | None:
    if dense is None:
        return None
    try:
        return pairs_of(record, dense)
    except DgpruneError:  # of other images
        return None
