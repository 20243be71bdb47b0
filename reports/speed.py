"""Speedups as cells of a table, and which of them may stand in one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from dgprune.errors import DgpruneError
from dgprune.judgement import doubts, interval_of, judge
from dgprune.records import LatencyRecord
from dgprune.statistics import Interval, Verdict, median_latency_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """An A/A control: the record of a file that was timed against itself, and its id."""

    id: str
    record: LatencyRecord


@dataclass(frozen=True, kw_only=True)
class SpeedCell:
    """Speedup of one file over another at one batch size, and the record it comes from.

    `doubts` are all that a reader must know of it; `control` is what judged it.
    """

    baseline_sha256: str
    record_id: str
    record: LatencyRecord
    interval: Interval
    verdict: Verdict
    doubts: list[str]
    latency_s: float
    baseline_latency_s: float
    control: Control | None


def weight(record: LatencyRecord) -> tuple[int, float]:
    """How well a record backs its speedup: by its processes, then by how narrow its interval is.

    The interval of a single process knows nothing of what differs between processes: it is the
    narrowest, and holds the truth least often.
    """
    interval = interval_of(record)
    return len(record.replicas), interval.low - interval.high if interval else -math.inf


def require_one_machine(cells: Sequence[SpeedCell]) -> None:
    """Speedups stand in one table only where machine, libraries and runtime are the same."""
    for part in ("environment", "runtime"):
        found = [getattr(_settled(cell.record), part) for cell in cells]
        other = next((it for it in found if it != found[0]), None)
        if other is not None:
            raise DgpruneError(
                f"the records were timed with more than one {part}, differing in "
                f"{', '.join(_differing(found[0], other))}; report them apart, or move their "
                "file away and measure again"
            )


def _differing(one: Any, other: Any) -> list[str]:
    """The names of the fields in which two of a kind differ."""
    names = [field.name for field in fields(one)]
    return [name for name in names if getattr(one, name) != getattr(other, name)]


def _settled(record: LatencyRecord) -> LatencyRecord:
    """The record; a fallback that was allowed and not taken changes nothing."""
    fell = any(p and p.fallbacks for p in (record.proof, record.baseline_proof))
    return replace(record, runtime=replace(record.runtime, allow_fallback=fell))


def speed_cell(record_id: str, record: LatencyRecord, control: Control | None) -> SpeedCell | None:
    """The speedup of a paired record; None where one file was timed alone, or nothing was."""
    interval = interval_of(record)
    if record.baseline is None or interval is None:
        return None
    against = control.record if control else None
    return SpeedCell(
        baseline_sha256=record.baseline.sha256,
        record_id=record_id,
        record=record,
        interval=interval,
        verdict=judge(record, against),
        doubts=doubts(record, against),
        latency_s=median_latency_s(record),
        baseline_latency_s=median_latency_s(record, "baseline"),
        control=control,
    )
