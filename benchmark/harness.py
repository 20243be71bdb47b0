"""The paired harness: two arms in alternation, ABBA; clock, guard and meter are injected.

Pure: no model, no file, no thread. Latency protocol, version 1: warm-up until the latency has
settled, then rounds of four blocks; the first calls after a switch of arm are dropped; a round in
which the guard saw trouble is void; measuring stops when the interval of the speedup is narrow
enough.
"""

import random
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from dgprune.statistics import rounds_interval
from dgprune.timing import Arm, BenchSpec, DeviceTime, TimedBlock, VoidRound, counted

Step = Callable[[int], DeviceTime | None]
_DROPPED_AFTER_SWITCH = 2
_FEWEST_ROUNDS = 6
_BLOCKS_A_ROUND = 4
_SETTLED_BLOCKS = 5
_SETTLED_SLOPE = 0.001
_ROUNDS_BETWEEN_TESTS = 4


class Clock(Protocol):
    """Tells the time after the device has finished."""

    def now_ns(self) -> int:
        """Nanoseconds since some moment; never goes back."""


class Guard(Protocol):
    """Watches the machine from the begin of a round to its end."""

    def begin(self) -> None:
        """A round begins."""

    def trouble(self) -> str | None:
        """What happened since that must void the round; None where nothing did."""


class Meter(Protocol):
    """Counts energy."""

    def energy_uj(self) -> int:
        """Microjoules since some moment."""


class Unguarded:
    """A guard that never sees anything."""

    def begin(self) -> None:
        """A round begins."""

    def trouble(self) -> str | None:
        """Nothing."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Blocks in the order taken, void rounds, and whether the latency had settled before."""

    blocks: tuple[TimedBlock, ...]
    stationary: bool
    void: tuple[VoidRound, ...] = ()


class ClockWentBackError(RuntimeError):
    """The clock gave an earlier time than before: no sample of this run can be trusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Harness:
    """Measures `arms`: one, or a baseline and a candidate.

    `Step(i)` computes batch i of `batches`, and tells the device's time where it has a clock.
    """

    arms: Mapping[Arm, Step]
    batches: int
    clock: Clock
    spec: BenchSpec
    guard: Guard = Unguarded()
    meter: Meter | None = None

    def measure(self) -> Measurement:
        """Samples of every arm: warm-up first, then rounds until the stop rule of `spec` holds."""
        least = {arm: self._least(arm) for arm in self.arms}
        start = self.clock.now_ns()  # a first call that compiles takes none of the cell's time
        stationary = self._warm_up(least)
        iterations = {arm: self._iterations(arm, least[arm]) for arm in self.arms}
        blocks: list[TimedBlock] = []
        void: list[VoidRound] = []
        order = self._order()
        for number in range(self.spec.rounds[1]):
            self.guard.begin()
            blocks += [self._block(arm, number, iterations[arm]) for arm in order]
            trouble = self.guard.trouble()
            if trouble is not None:
                void.append(VoidRound(round=number, reason=trouble))
            elapsed_s = (self.clock.now_ns() - start) / 1e9
            late = elapsed_s > self.spec.cell_s and number + 1 >= _FEWEST_ROUNDS
            if late or self._enough(number + 1, blocks, void):
                break
        return Measurement(blocks=tuple(blocks), stationary=stationary, void=tuple(void))

    def _order(self) -> list[Arm]:
        """ABBA, or BAAB where the draw of this process says so; plain repetition for one arm."""
        names = list(self.arms)
        if random.Random(self.spec.seed).random() < 0.5:
            names.reverse()
        return [*names, *reversed(names)]

    def _call(self, step: Step, index: int) -> tuple[int, DeviceTime | None]:
        start = self.clock.now_ns()
        told = step(index % self.batches)
        duration = self.clock.now_ns() - start
        if duration < 0:
            raise ClockWentBackError("the clock went back while a call was timed")
        return duration, told

    def _block(self, arm: Arm, number: int, iterations: int) -> TimedBlock:
        step = self.arms[arm]
        # What a switch leaves in the caches is lost in a call that is too long for a block of two.
        for index in range(min(_DROPPED_AFTER_SWITCH, iterations // 2)):
            step(index % self.batches)
        before = self.meter.energy_uj() if self.meter else 0
        calls = [self._call(step, index) for index in range(iterations)]
        device = [told for _, told in calls if told is not None]
        return TimedBlock(
            arm=arm,
            round=number,
            durations_ns=tuple(duration for duration, _ in calls),
            device_ns=tuple(told.device_ns for told in device),
            enqueue_ns=tuple(told.enqueue_ns for told in device),
            energy_uj=self.meter.energy_uj() - before if self.meter else None,
        )

    def _least(self, arm: Arm) -> int:
        """Calls of a short block: those of the spec, or as many as its time has room for.

        The first call may compile or start a device: where it leaves no room, the second one tells.
        """
        wanted = self.spec.block_iterations[0]
        share_ns = self.spec.cell_s / self.spec.rounds[0] / _BLOCKS_A_ROUND * 1e9
        for _ in range(2):
            call_ns, _device = self._call(self.arms[arm], 0)
            least = max(1, min(wanted, int(share_ns / max(call_ns, 1))))
            if least == wanted:
                break
        return least

    def _warm_up(self, least: Mapping[Arm, int]) -> bool:
        """Alternates short blocks until the least is done and the last five medians lie level."""
        medians: dict[Arm, list[float]] = {arm: [] for arm in self.arms}
        start = self.clock.now_ns()
        for done in range(1, self.spec.warmup_blocks + 1):
            for arm in self.arms:
                block = self._block(arm, 0, least[arm])
                medians[arm].append(statistics.median(block.durations_ns))
            long_enough = (self.clock.now_ns() - start) / 1e9 / len(self.arms) >= self.spec.warmup_s
            often_enough = done * min(least.values()) >= self.spec.warmup_iterations
            if (long_enough or often_enough) and all(settled(m) for m in medians.values()):
                return True
            if (self.clock.now_ns() - start) / 1e9 > self.spec.cell_s / 4:
                break  # a quarter of the time is warm-up enough, settled or not
        return False

    def _iterations(self, arm: Arm, least: int) -> int:
        """Calls a block: as many as fill `block_s`, from the least to the most of the spec."""
        median_ns = statistics.median(self._block(arm, 0, least).durations_ns)
        fill = round(self.spec.block_s * 1e9 / median_ns)
        return max(least, min(self.spec.block_iterations[1], fill))

    def _enough(self, rounds: int, blocks: list[TimedBlock], void: list[VoidRound]) -> bool:
        """Whether this process's share of the precision is there.

        The mean of several processes is narrower than each of them, by the root of their number.
        """
        left = counted(blocks, void)
        enough = len({block.round for block in left}) >= self.spec.rounds[0]
        if not enough or rounds % _ROUNDS_BETWEEN_TESTS:
            return False
        wanted = self.spec.half_width * self.spec.replicas**0.5
        return len(self.arms) == 1 or rounds_interval(left).half_width <= wanted


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
