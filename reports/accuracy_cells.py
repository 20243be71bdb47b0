"""Accuracies as cells of a table, and the records that they come from."""

from dataclasses import dataclass

from dgprune.records import AccuracyRecord
from dgprune.statistics import Interval


@dataclass(frozen=True, kw_only=True)
class AccuracyCell:
    """Accuracy of one file on one domain, and the record it comes from."""

    record_id: str
    record: AccuracyRecord
    interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Accuracy of one file on all that was held out, and the records it is pooled from."""

    interval: Interval
    record_ids: tuple[str, ...]

    @property
    def accuracy(self) -> float:
        """Share of the held-out images whose top-1 class is right."""
        return self.interval.estimate
