"""What may be said of a latency record: its verdict, and every doubt about it."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from dgprune.lineage import chosen_by_oracle, spec_of
from dgprune.records import AccuracyRecord, Entry, LatencyRecord, RuntimeSpec, Subject
from dgprune.statistics import (
    Interval,
    Verdict,
    bootstrap_interval,
    speedup_interval,
    verdict,
)
from dgprune.timing import Replica

_REMEMBERED = 16_384  # records of a large sweep

_PARTED = (Verdict.FASTER, Verdict.SLOWER)


def judge(record: LatencyRecord, control: LatencyRecord | None = None) -> Verdict:
    """The verdict on a paired record.

    INCONCLUSIVE too where nothing was measured, where processes are missing, where more than a
    fifth of the rounds are void, or where `control`, the baseline against itself, is missing, lacks
    processes, rounds or limits, or came out FASTER or SLOWER. A control itself needs no other one.
    """
    interval = interval_of(record)
    if interval is None or withheld(record, control):
        return Verdict.INCONCLUSIVE
    return verdict(interval)


def withheld(record: LatencyRecord, control: LatencyRecord | None) -> list[str]:
    """Why a record has no verdict, whatever its interval says; empty where it has one."""
    found = []
    if is_short(record):
        found.append(f"{_processes(record)} measured, so no verdict")
    if is_unstable(record):
        found.append("more than a fifth of the rounds are void, so no verdict")
    return found + _by_control(record, control)


def interval_of(record: LatencyRecord) -> Interval | None:
    """The speedup of a paired record; None where no round counts."""
    return _interval_of(_Same(record.replicas))


class _Same:
    """Equal where it holds the very same object: a key that costs nothing to hash."""

    __slots__ = ("replicas",)

    def __init__(self, replicas: tuple[Replica, ...]) -> None:
        self.replicas = replicas

    def __hash__(self) -> int:
        return id(self.replicas)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.replicas is other.replicas


@lru_cache(maxsize=_REMEMBERED)
def _interval_of(same: _Same) -> Interval | None:
    """Remembered: verdict, doubts and tables all ask for it, and a control is asked by every row.

    The key holds the samples, so that no others can take their place in memory.
    """
    try:
        return speedup_interval(same.replicas)
    except ValueError:
        return None


@lru_cache(maxsize=_REMEMBERED)
def _bootstrap_of(same: _Same) -> Interval | None:
    """Remembered: a second of work for every record of tier claim, which several tables tell of."""
    return bootstrap_interval(same.replicas)


def is_short(record: LatencyRecord) -> bool:
    """Whether processes died, so that fewer measured than the tier asks for.

    The interval of a single one knows nothing of what differs between processes.
    """
    return len(record.replicas) < record.spec.replicas


def is_unstable(record: LatencyRecord) -> bool:
    """Whether more than a fifth of the rounds are void in some process."""
    return any(replica.unstable for replica in record.replicas)


def has_failed(control: LatencyRecord) -> bool:
    """Whether a file that was timed against itself seems to differ from itself."""
    interval = interval_of(control)
    return interval is not None and verdict(interval) in _PARTED


def has_limits(interval: Interval) -> bool:
    """Whether an interval of a ratio has any: that of a single round goes from 0 to infinity."""
    return interval.low > 0 and math.isfinite(interval.high)


def limits_of(interval: Interval) -> tuple[float | None, float | None]:
    """Both limits; None where a single round counts, which has none: JSON has no infinity."""
    return (interval.low, interval.high) if has_limits(interval) else (None, None)


def noise_floor(control: LatencyRecord) -> float | None:
    """How far from 1 a speedup may seem where there is none: the far limit of the control."""
    interval = interval_of(control)
    if interval is None or not has_limits(interval):
        return None
    return max(1 - interval.low, interval.high - 1)


def doubts(record: LatencyRecord, control: LatencyRecord | None = None) -> list[str]:
    """Everything that a reader of a paired record must know, a line each."""
    found = list(record.failures)
    interval = interval_of(record)
    if interval is None:
        return [*found, "nothing was measured"]
    if is_short(record):
        found.append(f"{_processes(record)} measured, so no verdict")
    elif len(record.replicas) > len({replica.build for replica in record.replicas}) == 1:
        found.append("every process ran the same build of the engine, which says nothing of others")
    if not record.stationary:
        found.append("the latency had not settled before measuring")
    void = [entry.reason for replica in record.replicas for entry in replica.void]
    if void:
        word = "unstable, no verdict: " if is_unstable(record) else ""
        found.append(f"{word}{len(void)} rounds are void ({', '.join(dict.fromkeys(void))})")
    if not has_limits(interval):
        found.append("too few rounds count for an interval")
    elif interval.half_width > record.spec.half_width:
        found.append(
            f"{100 * interval.half_width:.2g} % of half-width, where the tier "
            f"{record.spec.tier} wants {100 * record.spec.half_width:g} %"
        )
    check = _bootstrap_of(_Same(record.replicas))
    if check is not None and (check.high < interval.low or interval.high < check.low):
        found.append(
            f"the bootstrap of pooled medians says {check.low:.3f} to {check.high:.3f} instead"
        )
    return found + _by_control(record, control)


def _by_control(record: LatencyRecord, control: LatencyRecord | None) -> list[str]:
    """Why its control, or that there is none, leaves a record without a verdict."""
    if control is None:
        return [] if record.is_control else ["no A/A control, so no verdict"]
    found = []
    if is_short(control):
        found.append(f"{_processes(control)} of the A/A control measured, so no verdict")
    elif noise_floor(control) is None:
        found.append("too few rounds of the A/A control count, so no verdict")
    if is_unstable(control):
        found.append("more than a fifth of the rounds of the A/A control are void, so no verdict")
    if has_failed(control):
        found.append("the A/A control failed: the baseline differs from itself, so no verdict")
    return found


def _processes(record: LatencyRecord) -> str:
    return f"{len(record.replicas)} of {record.spec.replicas} processes"


def control_of(record: LatencyRecord, records: Sequence[LatencyRecord]) -> LatencyRecord | None:
    """The A/A control that judges a record: its baseline against itself, in the same cell.

    Of several it is the newest of those that failed: that the baseline differs from itself is not
    undone by measuring again. Where none failed it is the newest. One that lost processes fails
    nothing: the interval of those that are left says too little.
    Whether a fallback was allowed is no part of the cell where none was taken.
    """
    fitting = [
        other
        for other in records
        if other.is_control
        and record.baseline is not None
        and other.subject.sha256 == record.baseline.sha256
        and _ran_as(other, record)
        and other.batch_size == record.batch_size
        and other.spec.tier == record.spec.tier
        and other.environment == record.environment
    ]
    failed = [other for other in fitting if has_failed(other) and not is_short(other)]
    return next(reversed(failed or fitting), None)


def _ran_as(control: LatencyRecord, record: LatencyRecord) -> bool:
    """Whether a control was executed as the baseline of a record was.

    A permission to fall back that only one of them had counts where something did fall back.
    """
    asked = record.baseline_runtime or record.runtime
    if control.runtime == asked:
        return True
    fell = any(proof and proof.fallbacks for proof in (control.proof, record.baseline_proof))
    return not fell and replace(control.runtime, allow_fallback=asked.allow_fallback) == asked


def unfit(subject: Subject) -> str | None:
    """Why no claim may be made of a file, whatever is measured of it; None where one may."""
    if spec_of(subject.lineage, "finetune") is None:
        return "has random weights: it was never trained on the data"
    if chosen_by_oracle(subject.lineage):
        chooser = "the unseen domain" if subject.origin.target else "test images"
        return f"was chosen by {chooser} (oracle selection)"
    return None


def of_held_out(sha256: str, runtime: RuntimeSpec, entries: Sequence[Entry]) -> dict[str, Entry]:
    """The newest evaluation of these very bytes on what was held out: a record a domain.

    Only what `runtime` computed counts: another one, or another device, rounds otherwise.
    """
    executed = (runtime.name, runtime.provider)
    found = [
        (entry.record.domain, entry)
        for entry in entries
        if isinstance(entry.record, AccuracyRecord)
        and entry.record.role != "source-val"
        and entry.record.subject.sha256 == sha256
        and (entry.record.runtime.name, entry.record.runtime.provider) == executed
    ]
    return {domain: entry for domain, entry in found if entry.cell == found[-1][1].cell}
