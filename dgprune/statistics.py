"""Intervals and verdicts, from raw samples only."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from scipy.special import stdtrit

from dgprune.records import AccuracyRecord, Arm, LatencyRecord, TimedBlock

MARGIN = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate between its two confidence limits."""

    low: float
    estimate: float
    high: float


class Verdict(Enum):
    """What an interval of the speedup says, at a margin of 1 %."""

    FASTER = "faster"
    SLOWER = "slower"
    EQUIVALENT = "equivalent"
    INCONCLUSIVE = "inconclusive"


def round_log_ratios(blocks: Sequence[TimedBlock]) -> list[float]:
    """Ln(median baseline / median candidate), one a round, over the pooled samples of each arm."""
    rounds: dict[int, dict[Arm, list[int]]] = {}
    for block in blocks:
        arms = rounds.setdefault(block.round, {"baseline": [], "candidate": []})
        arms[block.arm].extend(block.durations_ns)
    return [
        math.log(statistics.median(arms["baseline"]) / statistics.median(arms["candidate"]))
        for arms in rounds.values()
        if arms["baseline"] and arms["candidate"]
    ]


def student_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Mean of `values` with Student's t limits; one value has no limits (they are infinite)."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return Interval(low=-math.inf, estimate=mean, high=math.inf)
    spread = statistics.stdev(values) / math.sqrt(len(values))
    reach = float(stdtrit(len(values) - 1, 0.5 + confidence / 2)) * spread
    return Interval(low=mean - reach, estimate=mean, high=mean + reach)


def speedup_interval(blocks: Sequence[TimedBlock]) -> Interval:
    """Speedup of the candidate over the baseline: the exponentiated interval of the log ratios."""
    logs = student_interval(round_log_ratios(blocks))
    high = math.exp(logs.high) if logs.high < 700 else math.inf
    return Interval(low=math.exp(logs.low), estimate=math.exp(logs.estimate), high=high)


def verdict(interval: Interval, margin: float = MARGIN) -> Verdict:
    """FASTER or SLOWER where the interval is past the margin, EQUIVALENT where it is inside."""
    if interval.low > 1 + margin:
        return Verdict.FASTER
    if interval.high < 1 - margin:
        return Verdict.SLOWER
    if interval.low >= 1 - margin and interval.high <= 1 + margin:
        return Verdict.EQUIVALENT
    return Verdict.INCONCLUSIVE


def median_latency_s(record: LatencyRecord, arm: Arm = "candidate") -> float:
    """Median host latency of one call, in seconds, over all samples of `arm`."""
    pooled = [ns for block in record.blocks if block.arm == arm for ns in block.durations_ns]
    return statistics.median(pooled) / 1e9


def accuracy_interval(record: AccuracyRecord, confidence: float = 0.95) -> Interval:
    """Accuracy with Wilson's score limits (Wilson 1927)."""
    from scipy.stats import binomtest

    limits = binomtest(record.correct, record.images).proportion_ci(confidence, method="wilson")
    return Interval(low=float(limits.low), estimate=record.accuracy, high=float(limits.high))


def judge(record: LatencyRecord) -> Verdict:
    """The verdict on a paired record; INCONCLUSIVE too where its tier's precision was missed."""
    interval = speedup_interval(record.blocks)
    if (interval.high - interval.low) / 2 > record.spec.half_width * interval.estimate:
        return Verdict.INCONCLUSIVE
    return verdict(interval)
