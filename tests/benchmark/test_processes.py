"""The processes of a cell: those that die, those that share a build, and what is concluded then."""

import math
from dataclasses import replace

import pytest

from benchmark import latency
from benchmark.child import ProcessDiedError
from benchmark.replication import replicate
from benchmark.tiers import tier
from dgprune.judgement import control_of, doubts, interval_of, judge, withheld
from dgprune.records import LatencyRecord
from dgprune.statistics import Verdict
from dgprune.timing import Replica, TimedBlock, VoidRound
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


@pytest.fixture
def control(faster: LatencyRecord) -> LatencyRecord:
    """Six processes of its baseline against itself."""
    return against_itself(faster, 1.0)


def against_itself(record: LatencyRecord, speedup: float) -> LatencyRecord:
    assert record.baseline is not None
    made_up = tuple(NoisyMachine(1, speedup, DISTURBANCES["white noise"]).paired())
    return replace(record, subject=record.baseline, replicas=made_up)


def test_fewer_processes_than_asked_back_no_verdict(
    faster: LatencyRecord, control: LatencyRecord
) -> None:
    assert judge(faster, control) is Verdict.FASTER
    for left in (1, 5):
        short = replace(faster, replicas=faster.replicas[:left])
        assert judge(short, control) is Verdict.INCONCLUSIVE
        assert f"{left} of 6 processes measured, so no verdict" in doubts(short, control)


def test_without_a_control_there_is_no_verdict(
    faster: LatencyRecord, control: LatencyRecord
) -> None:
    assert control_of(faster, [faster]) is None
    assert judge(faster) is Verdict.INCONCLUSIVE
    assert set(doubts(faster)) - set(doubts(faster, control)) == {"no A/A control, so no verdict"}
    assert judge(control) is Verdict.EQUIVALENT  # it is one itself
    assert not any("control" in doubt for doubt in doubts(control))


def test_a_control_that_lost_processes_vouches_for_nothing(
    faster: LatencyRecord, control: LatencyRecord
) -> None:
    assert control_of(faster, [control]) is control
    assert judge(faster, control) is Verdict.FASTER
    short = replace(control, replicas=control.replicas[:1])
    assert judge(faster, short) is Verdict.INCONCLUSIVE
    assert "1 of 6 processes of the A/A control measured, so no verdict" in doubts(faster, short)


def test_a_control_without_limits_vouches_for_nothing(
    faster: LatencyRecord, control: LatencyRecord
) -> None:
    once = tuple(
        replace(r, blocks=tuple(b for b in r.blocks if b.round == 0)) for r in control.replicas[:1]
    )
    for replicas in (once, tuple(replace(r, blocks=()) for r in once)):
        few = replace(control, replicas=replicas, spec=replace(SPEC, replicas=1))
        assert judge(faster, few) is Verdict.INCONCLUSIVE
        assert "too few rounds of the A/A control count, so no verdict" in doubts(faster, few)


def test_a_control_that_was_disturbed_vouches_for_nothing(
    faster: LatencyRecord, control: LatencyRecord
) -> None:
    first, *rest = control.replicas
    rounds = sorted({block.round for block in first.blocks})
    void = tuple(VoidRound(round=r, reason="power brake") for r in rounds[: len(rounds) // 2])
    disturbed = replace(control, replicas=(replace(first, void=void), *rest))
    assert judge(faster, disturbed) is Verdict.INCONCLUSIVE
    told = "more than a fifth of the rounds of the A/A control are void, so no verdict"
    assert told in doubts(faster, disturbed)
    assert withheld(faster, disturbed) == [told]


def test_a_speedup_without_limits_is_told_with_dashes_and_null(
    faster: LatencyRecord, control: LatencyRecord
) -> None:
    (first, *_) = faster.replicas
    once = replace(first, blocks=tuple(b for b in first.blocks if b.round == 0))
    single = replace(faster, replicas=(once,), spec=replace(SPEC, replicas=1))
    told = latency._numbers(single, control)
    assert told["speedup"]["low"] is told["speedup"]["high"] is None
    assert "[-, -] (inconclusive" in told["text"]
    assert "inf" not in told["text"].split("(")[0]


def test_a_control_vouches_for_what_ran_as_it_did(
    faster: LatencyRecord, control: LatencyRecord
) -> None:
    """A permission to fall back changes nothing where nothing fell back."""
    permitted = replace(control, runtime=replace(control.runtime, allow_fallback=True))
    assert control_of(faster, [permitted]) is permitted
    assert permitted.proof is not None
    fell = replace(permitted, proof=replace(permitted.proof, fallbacks=("asked fp16, ran fp32",)))
    assert control_of(faster, [fell]) is None
    two = replace(control, runtime=replace(control.runtime, threads=2))
    assert control_of(faster, [two]) is None
    alike = replace(faster, runtime=permitted.runtime, baseline_proof=fell.proof)
    assert control_of(alike, [control, fell]) is fell


def test_one_build_in_several_processes_has_limits_and_a_doubt(
    faster: LatencyRecord, control: LatencyRecord
) -> None:
    """Of an engine that was built once nothing is known about builds, but all about processes."""
    once = replace(faster, replicas=tuple(replace(r, build=0) for r in faster.replicas))
    assert interval_of(once) == interval_of(faster)
    assert judge(once, control) is Verdict.FASTER
    assert any("the same build of the engine" in doubt for doubt in doubts(once))
    assert not any("the same build" in doubt for doubt in doubts(faster))


def test_of_two_builds_the_means_are_what_counts(faster: LatencyRecord) -> None:
    twice = replace(faster, replicas=tuple(replace(r, build=r.build % 2) for r in faster.replicas))
    wide, narrow = interval_of(twice), interval_of(faster)
    assert wide is not None and narrow is not None
    assert wide.high < math.inf
    assert wide.estimate == pytest.approx(narrow.estimate)
