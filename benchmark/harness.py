"""The paired harness: two arms in alternation, ABBA, clock injected.

Pure: no model, no file, no thread. Latency protocol, version 1: warm-up until the latency has
settled, then rounds of four blocks; the first calls after a switch of arm are dropped; measuring
stops when the interval of the speedup is narrow enough.
"""

import random
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from dgprune.records import Arm, BenchSpec, TimedBlock
from dgprune.statistics import speedup_interval

Step = Callable[[int], None]
_DROPPED_AFTER_SWITCH = 2
_SETTLED_BLOCKS = 5
_SETTLED_SLOPE = 0.001
_ROUNDS_BETWEEN_TESTS = 4


class Clock(Protocol):
    """Tells the time after the device has finished."""

    def now_ns(self) -> int:
        """Nanoseconds since some moment; never goes back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Blocks in the order taken, and whether the latency had settled before the first."""

    blocks: tuple[TimedBlock, ...]
    stationary: bool


class ClockWentBackError(RuntimeError):
    """The clock gave an earlier time than before: no sample of this run can be trusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Harness:
    """Measures `arms`: one, or a baseline and a candidate.

    `Step(i)` computes batch i of `batches`.
    """

    arms: Mapping[Arm, Step]
    batches: int
    clock: Clock
    spec: BenchSpec

    def measure(self) -> Measurement:
        """Samples of every arm: warm-up first, then rounds until the stop rule of `spec` holds."""
        start = self.clock.now_ns()
        stationary = self._warm_up()
        iterations = {arm: self._iterations(arm) for arm in self.arms}
        blocks: list[TimedBlock] = []
        order = self._order()
        for number in range(self.spec.rounds[1]):
            for arm in order:
                blocks.append(self._block(arm, number, iterations[arm]))
            elapsed_s = (self.clock.now_ns() - start) / 1e9
            late = elapsed_s > self.spec.cell_s and number + 1 >= self.spec.rounds[0]
            if late or self._enough(number + 1, blocks):
                break
        return Measurement(blocks=tuple(blocks), stationary=stationary)

    def _order(self) -> list[Arm]:
        """ABBA, or BAAB where the draw of this process says so; plain repetition for one arm."""
        names = list(self.arms)
        if random.Random(self.spec.seed).random() < 0.5:
            names.reverse()
        return [*names, *reversed(names)]

    def _call(self, step: Step, index: int) -> int:
        start = self.clock.now_ns()
        step(index % self.batches)
        duration = self.clock.now_ns() - start
        if duration < 0:
            raise ClockWentBackError("the clock went back while a call was timed")
        return duration

    def _block(self, arm: Arm, number: int, iterations: int) -> TimedBlock:
        step = self.arms[arm]
        for index in range(_DROPPED_AFTER_SWITCH):
            step(index % self.batches)
        durations = tuple(self._call(step, index) for index in range(iterations))
        return TimedBlock(arm=arm, round=number, durations_ns=durations)

    def _warm_up(self) -> bool:
        """Alternates short blocks until the least is done and the last five medians lie level."""
        least, most = self.spec.block_iterations[0], self.spec.warmup_blocks
        medians: dict[Arm, list[float]] = {arm: [] for arm in self.arms}
        start = self.clock.now_ns()
        for done in range(1, most + 1):
            for arm in self.arms:
                block = self._block(arm, 0, least)
                medians[arm].append(statistics.median(block.durations_ns))
            long_enough = (self.clock.now_ns() - start) / 1e9 / len(self.arms) >= self.spec.warmup_s
            often_enough = done * least >= self.spec.warmup_iterations
            if (long_enough or often_enough) and all(settled(m) for m in medians.values()):
                return True
            if (self.clock.now_ns() - start) / 1e9 > self.spec.cell_s / 4:
                break  # a quarter of the time is warm-up enough, settled or not
        return False

    def _iterations(self, arm: Arm) -> int:
        """Calls a block: as many as fill `block_s`, within the limits of the spec."""
        least, most = self.spec.block_iterations
        median_ns = statistics.median(self._block(arm, 0, least).durations_ns)
        return max(least, min(most, round(self.spec.block_s * 1e9 / median_ns)))

    def _enough(self, rounds: int, blocks: list[TimedBlock]) -> bool:
        if rounds < self.spec.rounds[0] or rounds % _ROUNDS_BETWEEN_TESTS:
            return False
        return len(self.arms) == 1 or relative_half_width(blocks) <= self.spec.half_width


def relative_half_width(blocks: list[TimedBlock] | tuple[TimedBlock, ...]) -> float:
    """Half the width of the speedup's interval, as a share of the speedup."""
    interval = speedup_interval(blocks)
    return (interval.high - interval.low) / 2 / interval.estimate


def settled(medians: list[float]) -> bool:
    """Whether the last five medians slope by under 0.1 % a block, or less than their noise."""
    if len(medians) < _SETTLED_BLOCKS:
        return False
    last = medians[-_SETTLED_BLOCKS:]
    mean = statistics.fmean(last)
    middle = (_SETTLED_BLOCKS - 1) / 2
    steps = [i - middle for i in range(_SETTLED_BLOCKS)]
    leverage = sum(step**2 for step in steps)
    slope = sum(step * value for step, value in zip(steps, last, strict=True)) / leverage
    rest = [value - mean - slope * step for step, value in zip(steps, last, strict=True)]
    error = (sum(r**2 for r in rest) / (_SETTLED_BLOCKS - 2) / leverage) ** 0.5
    return bool(abs(slope) <= max(_SETTLED_SLOPE * mean, 2 * error))
