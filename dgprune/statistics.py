"""Intervals and verdicts, from raw samples only."""

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

import numpy as np
from scipy.special import ndtri, stdtrit

from dgprune.records import AccuracyRecord, LatencyRecord
from dgprune.timing import Arm, Replica, TimedBlock

MARGIN = 0.01
_TRIMMED = 0.2  # of the rounds, on either side
# So many samples that the second largest lies above the quantile at 95 % confidence (binomial).
TAILS = {0.9: 46, 0.95: 93, 0.99: 473, 0.999: 4742}
_BOOTSTRAP_FROM, _BOOTSTRAP_DRAWS = 20, 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate between its two confidence limits."""

    low: float
    estimate: float
    high: float

    @property
    def half_width(self) -> float:
        """Half of the distance between the limits, as a share of the estimate."""
        return (self.high - self.low) / 2 / self.estimate


class Verdict(Enum):
    """What an interval of the speedup says, at a margin of 1 %."""

    FASTER = "faster"
    SLOWER = "slower"
    EQUIVALENT = "equivalent"
    INCONCLUSIVE = "inconclusive"


def round_log_ratios(blocks: Sequence[TimedBlock]) -> list[float]:
    """Ln(median baseline / median candidate), one a round, over the pooled samples of each arm."""
    return [
        math.log(statistics.median(arms["baseline"]) / statistics.median(arms["candidate"]))
        for arms in _by_round(blocks)
    ]


def _by_round(blocks: Sequence[TimedBlock]) -> list[dict[Arm, list[int]]]:
    """The samples of each arm, round by round, of rounds that have both."""
    rounds: dict[int, dict[Arm, list[int]]] = {}
    for block in blocks:
        arms = rounds.setdefault(block.round, {"baseline": [], "candidate": []})
        arms[block.arm].extend(block.durations_ns)
    return [arms for arms in rounds.values() if arms["baseline"] and arms["candidate"]]


def student_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Mean of `values` with Student's t limits; one value has no limits (they are infinite)."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return Interval(low=-math.inf, estimate=mean, high=math.inf)
    spread = statistics.stdev(values) / math.sqrt(len(values))
    reach = float(stdtrit(len(values) - 1, 0.5 + confidence / 2)) * spread
    return Interval(low=mean - reach, estimate=mean, high=mean + reach)


def trimmed_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Mean of the middle three fifths of `values`, with limits (Tukey and McLaughlin 1963).

    The variance is that of the winsorised values, Student's t has as many degrees of freedom as
    values are left. Rounds in which a neighbour slowed down the arm that needs more memory would
    pull the plain mean by several per cent.
    """
    cut = int(_TRIMMED * len(values))
    if cut == 0:
        return student_interval(values, confidence)
    ordered = np.sort(values)
    left = len(values) - 2 * cut
    mean = float(ordered[cut:-cut].mean())
    winsorised = np.clip(ordered, ordered[cut], ordered[-cut - 1])
    spread = float(winsorised.std(ddof=1)) / ((1 - 2 * cut / len(values)) * math.sqrt(len(values)))
    reach = float(stdtrit(left - 1, 0.5 + confidence / 2)) * spread
    return Interval(low=mean - reach, estimate=mean, high=mean + reach)


def rounds_interval(blocks: Sequence[TimedBlock]) -> Interval:
    """Speedup of the candidate within one process: the trimmed mean of its rounds."""
    return _exponentiated(trimmed_interval(round_log_ratios(blocks)))


def speedup_interval(replicas: Sequence[Replica]) -> Interval:
    """Speedup of the candidate over the baseline, over all processes that have rounds to count.

    One process: the trimmed mean of its rounds. Several: Student's t over the means of builds (each
    that of its processes; of a single build, over its processes), or the limits over all rounds
    where those are wider: iterations and rounds of one process share what differs between
    processes, so they are no replicates (latency protocol, version 1). Raises ValueError where
    there is nothing to count.
    """
    logs = [(r.build, round_log_ratios(r.counted)) for r in replicas]
    logs = [(build, rounds) for build, rounds in logs if rounds]
    if not logs:
        raise ValueError("no round counts")
    pooled = trimmed_interval([value for _, rounds in logs for value in rounds])
    if len(logs) == 1:
        return _exponentiated(pooled)
    builds: dict[int, list[float]] = defaultdict(list)
    for build, rounds in logs:
        builds[build].append(trimmed_interval(rounds).estimate)
    built = list(builds.values())
    means = student_interval(built[0] if len(built) == 1 else [*map(statistics.fmean, built)])
    reach = max(pooled.high - pooled.estimate, means.high - means.estimate)
    middle = means.estimate
    return _exponentiated(Interval(low=middle - reach, estimate=middle, high=middle + reach))


def _exponentiated(logs: Interval) -> Interval:
    high = math.exp(logs.high) if logs.high < 700 else math.inf
    return Interval(low=math.exp(logs.low), estimate=math.exp(logs.estimate), high=high)


def bootstrap_interval(replicas: Sequence[Replica], seed: int = 0) -> Interval | None:
    """Ratio of pooled medians with percentile limits, over 1000 draws of rounds with replacement.

    A cross-check that knows no normal distribution; None under 20 rounds. It knows nothing of what
    differs between processes either.
    """
    rounds = [arms for replica in replicas for arms in _by_round(replica.counted)]
    if len(rounds) < _BOOTSTRAP_FROM:
        return None
    rng = np.random.default_rng(seed)
    samples = {arm: [np.array(r[arm]) for r in rounds] for arm in ("baseline", "candidate")}
    ratios = []
    for _ in range(_BOOTSTRAP_DRAWS):
        drawn = rng.integers(0, len(rounds), len(rounds))
        medians = [np.median(np.concatenate([part[i] for i in drawn])) for part in samples.values()]
        ratios.append(medians[0] / medians[1])
    low, high = np.quantile(ratios, (0.025, 0.975))
    medians = [np.median(np.concatenate(part)) for part in samples.values()]
    return Interval(low=float(low), estimate=float(medians[0] / medians[1]), high=float(high))


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
    """Median host latency of one call, in seconds, over all samples of `arm` that count."""
    return statistics.median(samples_ns(record, arm)) / 1e9


def samples_ns(record: LatencyRecord, arm: Arm = "candidate") -> list[int]:
    """Host latency of every call of `arm` that counts, in nanoseconds."""
    return [ns for block in record.blocks if block.arm == arm for ns in block.durations_ns]


def tail_latencies_s(record: LatencyRecord, arm: Arm = "candidate") -> dict[float, float | None]:
    """Quantiles p90 to p99.9 of one call, in seconds; None where there are too few samples.

    With fewer, fewer than two samples lie beyond it at 95 % confidence.
    """
    found = sorted(samples_ns(record, arm))
    return {
        q: found[math.ceil(q * len(found)) - 1] / 1e9 if len(found) >= needed else None
        for q, needed in TAILS.items()
    }


def throughput_knee(images_per_s: dict[int, float], share: float = 0.95) -> int | None:
    """The smallest batch size that reaches `share` of the best throughput; None of nothing."""
    if not images_per_s:
        return None
    best = max(images_per_s.values())
    return min(size for size, rate in images_per_s.items() if rate >= share * best)


def accuracy_interval(record: AccuracyRecord, confidence: float = 0.95) -> Interval:
    """Accuracy with Wilson's score limits (Wilson 1927)."""
    return share_interval(record.correct, record.images, confidence)


@lru_cache(maxsize=1 << 16)  # half a millisecond each, and a report asks for every one many times
def share_interval(correct: int, images: int, confidence: float = 0.95) -> Interval:
    """The share `correct` of `images` with Wilson's score limits (Wilson 1927)."""
    z, share = float(ndtri(0.5 + confidence / 2)), correct / images
    scale = 2 * (images + z**2)
    middle = (2 * images * share + z**2) / scale
    reach = z / scale * math.sqrt(4 * images * share * (1 - share) + z**2)
    return Interval(
        low=middle - reach if correct else 0.0,
        estimate=share,
        high=middle + reach if correct < images else 1.0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Average:
    """Of `asked` cells those that are there, in `values`; nothing is told of less than all."""

    asked: int
    values: tuple[float, ...]

    @property
    def missing(self) -> int:
        """Cells that were asked for and are not there."""
        return self.asked - len(self.values)

    @property
    def mean(self) -> float | None:
        """The mean of all cells; None where one is missing, or none was asked for."""
        return statistics.fmean(self.values) if self.asked and not self.missing else None

    @property
    def spread(self) -> float | None:
        """Standard deviation (n - 1) over all cells; None where one is missing, or of a single."""
        return statistics.stdev(self.values) if self.asked > 1 and not self.missing else None

    @property
    def interval(self) -> Interval | None:
        """The mean with Student's t limits, as `spread`: None where that is None."""
        return None if self.spread is None else student_interval(self.values)


def average(cells: Sequence[float | None]) -> Average:
    """The average of `cells`, of which None is a missing one: counted, never passed over."""
    return Average(asked=len(cells), values=tuple(cell for cell in cells if cell is not None))
