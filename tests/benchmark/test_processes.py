"""The processes of a cell: those that die, those that share a build, and what is concluded then."""

import math
from dataclasses import replace

import pytest

from benchmark.child import ProcessDiedError
from benchmark.replication import replicate
from benchmark.tiers import tier
from dgprune.judgement import control_of, doubts, interval_of, judge
from dgprune.records import LatencyRecord
from dgprune.statistics import Verdict
from dgprune.timing import Replica, TimedBlock
from tests.conftest import TinyChain
from tests.fakes.machines import DISTURBANCES, NoisyMachine
from tests.reports.test_attribution import latency_of

SPEC = tier("default", 0)


def replicated(*deaths: int) -> tuple[list[int], list[Replica], list[str]]:
    """The numbers that were run where the calls `deaths`, from 0, die; then what came of it."""
    run: list[int] = []

    def process(number: int) -> Replica:
        run.append(number)
        if len(run) - 1 in deaths:
            raise ProcessDiedError(f"process {number} died")
        block = TimedBlock(arm="candidate", round=0, durations_ns=(1,))
        return Replica(build=number, stationary=True, load_average=0.0, blocks=(block,))

    return run, *replicate(process, SPEC)


def test_the_first_that_dies_is_run_again_under_its_number() -> None:
    """Odd numbers load the candidate first: without number 1 it would be first in two of six."""
    run, replicas, failures = replicated(1)
    assert run == [0, 1, 1, 2, 3, 4, 5]
    assert [replica.build for replica in replicas] == [0, 1, 2, 3, 4, 5]
    assert failures == ["process 1 died"]


def test_the_second_death_ends_the_cell() -> None:
    run, replicas, failures = replicated(1, 2)
    assert (run, len(replicas), len(failures)) == ([0, 1, 1], 1, 2)


@pytest.fixture
def faster(chain: TinyChain) -> LatencyRecord:
    """Six processes of a file that is twice as fast."""
    machine = NoisyMachine(0, 2.0, DISTURBANCES["build to build, 0.5 %"])
    return replace(latency_of(chain), spec=SPEC, replicas=tuple(machine.paired()))


def test_fewer_processes_than_asked_back_no_verdict(faster: LatencyRecord) -> None:
    assert judge(faster) is Verdict.FASTER
    for left in (1, 5):
        short = replace(faster, replicas=faster.replicas[:left])
        assert judge(short) is Verdict.INCONCLUSIVE
        assert f"{left} of 6 processes measured, so no verdict" in doubts(short)


def test_a_control_that_lost_processes_vouches_for_nothing(faster: LatencyRecord) -> None:
    assert faster.baseline is not None
    level = tuple(NoisyMachine(1, 1.0, DISTURBANCES["white noise"]).paired())
    control = replace(faster, subject=faster.baseline, replicas=level)
    assert control_of(faster, [control]) is control
    assert judge(faster, control) is Verdict.FASTER
    short = replace(control, replicas=level[:1])
    assert judge(faster, short) is Verdict.INCONCLUSIVE
    assert "1 of 6 processes of the A/A control measured, so no verdict" in doubts(faster, short)


def test_one_build_in_several_processes_has_limits_and_a_doubt(faster: LatencyRecord) -> None:
    """Of an engine that was built once nothing is known about builds, but all about processes."""
    once = replace(faster, replicas=tuple(replace(r, build=0) for r in faster.replicas))
    assert interval_of(once) == interval_of(faster)
    assert judge(once) is Verdict.FASTER
    assert any("the same build of the engine" in doubt for doubt in doubts(once))
    assert not any("the same build" in doubt for doubt in doubts(faster))


def test_of_two_builds_the_means_are_what_counts(faster: LatencyRecord) -> None:
    twice = replace(faster, replicas=tuple(replace(r, build=r.build % 2) for r in faster.replicas))
    wide, narrow = interval_of(twice), interval_of(faster)
    assert wide is not None and narrow is not None
    assert wide.high < math.inf
    assert wide.estimate == pytest.approx(narrow.estimate)
