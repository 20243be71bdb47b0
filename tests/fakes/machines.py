"""Machines whose true speedup is known: a clock that only moves when a step runs, and noise."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmark.harness import Harness
from benchmark.replication import replicate
from benchmark.tiers import tier
from dgprune.statistics import Interval, student_interval
from dgprune.timing import Arm, BenchSpec, Replica, VoidRound

_LATENCY_NS = 5e6
_WHITE = 0.02


@dataclass(frozen=True)
class Disturbance:
    """Noise on top of 2 % of white noise.

    `common(t)` multiplies both arms at time t [s], `build` is the spread (as a share) of each arm
    of each process, `spikes` the share of calls that take three to ten times as long.
    """

    common: Callable[[float, float], float] = lambda time_s, where: 1.0
    build: float = 0.0
    spikes: float = 0.0


DISTURBANCES = {
    "white noise": Disturbance(),
    "slow drift, 1 % in 20 s": Disturbance(common=lambda t, _: 1 + 0.01 * t / 20),
    "warm-up ramp, 20 %": Disturbance(common=lambda t, _: 1 + 0.2 * math.exp(-(t % 1000) / 0.7)),
    "throttle step, 3 %": Disturbance(common=lambda t, where: 1.03 if t > 30 * where else 1.0),
    "spikes, 1 % of calls": Disturbance(spikes=0.01),
    "build to build, 0.5 %": Disturbance(build=0.005),
}


def voided(replicas: Sequence[Replica], share: float) -> tuple[Replica, ...]:
    """The same processes, in each of which `share` of the rounds does not count."""

    def of(replica: Replica) -> Replica:
        rounds = sorted({block.round for block in replica.blocks})
        void = rounds[: math.ceil(share * len(rounds))]
        return replace(replica, void=tuple(VoidRound(round=r, reason="a neighbour") for r in void))

    return tuple(map(of, replicas))


class NoisyMachine:
    """Two arms of which the candidate is `ratio` times as fast."""

    def __init__(self, seed: int, ratio: float, disturbance: Disturbance) -> None:
        self._noise = np.random.default_rng(seed)
        self._drawn: list[float] = []
        self._random = random.Random(seed)
        self._ratio, self._disturbance = ratio, disturbance
        self._where = self._random.random()
        self._builds: dict[Arm, float] = {"baseline": 1.0, "candidate": 1.0}
        self.time_ns = 0

    def now_ns(self) -> int:
        return self.time_ns

    def new_process(self) -> None:
        """Both arms are built anew; a ramp begins again."""
        spread = self._disturbance.build
        self._builds = {arm: math.exp(self._random.gauss(0, spread)) for arm in self._builds}
        self.time_ns = (self.time_ns // 10**12 + 1) * 10**12 if self._ramps else self.time_ns

    @property
    def _ramps(self) -> bool:
        return self._disturbance is DISTURBANCES["warm-up ramp, 20 %"]

    def step(self, arm: Arm) -> Callable[[int], None]:
        def run(index: int) -> None:
            self.time_ns += self.call_ns(arm)

        return run

    def call_ns(self, arm: Arm) -> int:
        if not self._drawn:
            self._drawn = np.exp(self._noise.normal(0, _WHITE, 4096)).tolist()
        latency = _LATENCY_NS * self._builds[arm] * self._drawn.pop()
        latency *= self._disturbance.common(self.time_ns / 1e9, self._where)
        if self._disturbance.spikes and self._random.random() < self._disturbance.spikes:
            latency *= self._random.uniform(3, 10)
        return round(latency / self._ratio if arm == "candidate" else latency)

    def process(self, spec: BenchSpec, number: int) -> Replica:
        """What one process of the harness measures."""
        self.new_process()
        arms = {arm: self.step(arm) for arm in self._builds}
        own = Harness(arms=arms, batches=8, clock=self, spec=spec)
        found = own.measure()
        return Replica(
            build=number, stationary=found.stationary, load_average=0.0, blocks=found.blocks
        )

    def paired(self, name: str = "default") -> Sequence[Replica]:
        """All processes of a cell, as `bench` runs them."""
        spec = tier(name, self._random.randrange(2**31))

        def run(number: int) -> Replica:
            return self.process(replace(spec, seed=spec.seed + number), number)

        return replicate(run, spec)[0]

    def dense_then_pruned(self, calls: int) -> Interval:
        """What timing one arm after the other gives: the usual loop, and the usual interval."""
        self.new_process()
        logs: dict[Arm, list[float]] = {}
        for arm in self._builds:
            durations = []
            for _ in range(calls):
                self.time_ns += (took := self.call_ns(arm))
                durations.append(math.log(took))
            logs[arm] = durations
        dense, pruned = (student_interval(logs[arm]) for arm in ("baseline", "candidate"))
        middle = dense.estimate - pruned.estimate
        reach = math.hypot(dense.high - dense.estimate, pruned.high - pruned.estimate)
        low, high = math.exp(middle - reach), math.exp(middle + reach)
        return Interval(low=low, estimate=math.exp(middle), high=high)
