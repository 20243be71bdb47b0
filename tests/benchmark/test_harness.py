"""The paired harness against a fake clock, and its statistics against known answers."""

import math
import random
from collections.abc import Callable

import pytest

from benchmark.harness import ClockWentBackError, Harness, settled
from benchmark.tiers import TIERS, tier
from dgprune.errors import DgpruneError
from dgprune.statistics import Interval, Verdict, round_log_ratios, rounds_interval, verdict
from dgprune.timing import Arm, TimedBlock

SMOKE = tier("smoke", 0)


class FakeMachine:
    """A clock that only moves when a step runs; steps take what `latency_ns` says."""

    def __init__(self, latency_ns: Callable[[Arm, int], float]) -> None:
        self.time_ns = 0
        self.calls: list[tuple[Arm, int]] = []
        self._latency_ns = latency_ns

    def now_ns(self) -> int:
        return self.time_ns

    def step(self, arm: Arm) -> Callable[[int], None]:
        def run(index: int) -> None:
            self.calls.append((arm, index))
            self.time_ns += round(self._latency_ns(arm, self.time_ns))

        return run

    def harness(self, seed: int = 0) -> Harness:
        arms = {arm: self.step(arm) for arm in ("baseline", "candidate")}
        return Harness(arms=arms, batches=8, clock=self, spec=tier("smoke", seed))  # type: ignore[arg-type]


def noisy(
    seed: int, ratio: float, drift: float = 0.0, call_ns: float = 1e6
) -> Callable[[Arm, int], float]:
    rng = random.Random(seed)

    def latency(arm: Arm, time_ns: int) -> float:
        base = call_ns * (1 + drift * time_ns / 1e9)
        base = base if arm == "baseline" else base / ratio
        return base * math.exp(rng.gauss(0, 0.02))

    return latency


def test_a_constant_machine_gives_the_exact_ratio() -> None:
    machine = FakeMachine(lambda arm, _: 2e6 if arm == "baseline" else 1e6)
    found = machine.harness().measure()
    assert found.stationary
    assert rounds_interval(found.blocks) == Interval(low=2.0, estimate=2.0, high=2.0)
    assert {block.round for block in found.blocks} == set(range(12))


def test_blocks_run_abba_and_drop_two_calls_after_a_switch() -> None:
    machine = FakeMachine(lambda arm, _: 1e6)
    found = machine.harness().measure()
    first, second = found.blocks[0].arm, found.blocks[1].arm
    assert [block.arm for block in found.blocks[:4]] == [first, second, second, first]
    timed = sum(len(block.durations_ns) for block in found.blocks)
    tail = machine.calls[-(timed + 2 * len(found.blocks)) :]
    size = len(found.blocks[0].durations_ns)
    assert [index for _, index in tail[: size + 2]] == [0, 1, *(i % 8 for i in range(size))]


def test_the_arm_that_starts_is_drawn_by_seed() -> None:
    starts = {
        FakeMachine(lambda arm, _: 1e6).harness(seed).measure().blocks[0].arm for seed in range(8)
    }
    assert starts == {"baseline", "candidate"}


def test_both_arms_see_the_same_batches_in_the_same_order() -> None:
    machine = FakeMachine(lambda arm, _: 1e6)
    machine.harness().measure()
    orders = {
        arm: [index for name, index in machine.calls if name == arm]
        for arm in ("baseline", "candidate")
    }
    assert orders["baseline"] == orders["candidate"]


@pytest.mark.parametrize("drift", [0.0, 0.2])
def test_the_interval_covers_the_truth_under_noise_and_drift(drift: float) -> None:
    covered = 0
    for seed in range(100):
        blocks = FakeMachine(noisy(seed, 1.5, drift)).harness(seed).measure().blocks
        interval = rounds_interval(blocks)
        covered += interval.low <= 1.5 <= interval.high
    assert covered >= 90


def test_measuring_stops_when_narrow_and_gives_up_at_the_cap() -> None:
    calm = FakeMachine(noisy(0, 2.0)).harness().measure()
    assert rounds_interval(calm.blocks).half_width <= SMOKE.half_width
    rng = random.Random(0)
    wild = FakeMachine(lambda arm, _: 1e6 * math.exp(rng.gauss(0, 2))).harness().measure()
    assert len({block.round for block in wild.blocks}) == SMOKE.rounds[1]


def test_a_clock_that_goes_back_is_an_error() -> None:
    machine = FakeMachine(lambda arm, time_ns: -5e6 if time_ns > 3e7 else 1e6)
    with pytest.raises(ClockWentBackError):
        machine.harness().measure()


@pytest.mark.parametrize("call_s", [0.3, 2.0, 10.0])
def test_a_slow_model_keeps_the_time_of_its_cell_or_takes_six_rounds(call_s: float) -> None:
    """A cell of ten calls a block and twelve rounds would take 500 times a call, and more."""
    ratio = 1.5
    machine = FakeMachine(noisy(0, ratio, call_ns=1e9 * call_s))
    blocks = machine.harness().measure().blocks
    rounds = len({block.round for block in blocks})
    assert rounds >= 6
    assert machine.time_ns / 1e9 < max(1.5 * SMOKE.cell_s, 36 * call_s)
    interval = rounds_interval(blocks)
    assert interval.low <= ratio <= interval.high


@pytest.mark.parametrize("first_s", [0.09, 40.0])
def test_a_first_call_that_compiles_changes_nothing_of_what_follows(first_s: float) -> None:
    """It neither shortens the blocks, so that nothing settles, nor takes the cell's time."""
    plain = FakeMachine(noisy(0, 1.5, call_ns=4.5e6))
    rest, seen = noisy(0, 1.5, call_ns=4.5e6), set()

    def latency(arm: Arm, time_ns: int) -> float:
        first = arm not in seen
        seen.add(arm)
        return first_s * 1e9 if first else rest(arm, time_ns)

    found, wanted = FakeMachine(latency).harness().measure(), plain.harness().measure()
    assert found.stationary
    sizes = [[len(block.durations_ns) for block in m.blocks] for m in (found, wanted)]
    assert sizes[0] == sizes[1]
    assert min(sizes[0]) >= SMOKE.block_iterations[0]


def test_six_rounds_of_a_slow_model_cover_the_truth() -> None:
    covered = 0
    for seed in range(300):
        machine = FakeMachine(noisy(seed, 1.5, call_ns=5e9))
        blocks = machine.harness(seed).measure().blocks
        assert {block.round for block in blocks} == set(range(6))
        interval = rounds_interval(blocks)
        covered += interval.low <= 1.5 <= interval.high
    assert covered >= 0.92 * 300


def test_settled_is_a_slope_under_a_thousandth_or_inside_noise() -> None:
    assert settled([10, 10, 10, 10, 10])
    assert settled([10.0, 10.4, 9.7, 10.2, 9.9])
    assert not settled([14, 13, 12, 11, 10])
    assert not settled([10, 10, 10, 10])


def test_round_log_ratio_pools_the_blocks_of_an_arm() -> None:
    blocks = [
        TimedBlock(arm="baseline", round=0, durations_ns=(2, 4)),
        TimedBlock(arm="candidate", round=0, durations_ns=(1, 1)),
        TimedBlock(arm="baseline", round=0, durations_ns=(4,)),
    ]
    assert round_log_ratios(blocks) == [math.log(4)]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1.02, 1.2, Verdict.FASTER),
        (0.8, 0.98, Verdict.SLOWER),
        (0.995, 1.005, Verdict.EQUIVALENT),
        (0.98, 1.2, Verdict.INCONCLUSIVE),
        (1.005, 1.2, Verdict.INCONCLUSIVE),
    ],
)
def test_verdicts(low: float, high: float, expected: Verdict) -> None:
    assert verdict(Interval(low=low, estimate=(low + high) / 2, high=high)) is expected


def test_tiers_are_known_and_sharpen() -> None:
    assert tier("smoke", 0).half_width > tier("default", 0).half_width
    assert tier("default", 0).half_width > tier("claim", 0).half_width
    assert set(TIERS) == {"smoke", "default", "claim"}
    with pytest.raises(DgpruneError, match="is none of smoke, default, claim"):
        tier("quick", 0)


def test_samples_must_be_positive() -> None:
    with pytest.raises(ValueError, match="before the device had finished"):
        TimedBlock(arm="baseline", round=0, durations_ns=(0,))
