"""Guards and meters on files and a device that are made up, and what they void."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmark import guards
from benchmark.claimable import busy_cores
from benchmark.guards import (
    CpuGuard,
    Guards,
    NvidiaGuard,
    NvidiaMeter,
    RaplMeter,
    device_state,
    guard_for,
    meter_for,
)
from benchmark.harness import Harness, Unguarded
from benchmark.tiers import tier
from dgprune import environment
from dgprune.judgement import doubts, is_unstable, judge
from dgprune.records import RuntimeSpec
from dgprune.statistics import Verdict, speedup_interval
from dgprune.timing import Replica, TimedBlock, VoidRound
from tests.benchmark.test_harness import FakeMachine
from tests.conftest import TinyChain
from tests.reports.test_attribution import latency_of, timed

ON_CPU = RuntimeSpec(name="onnxruntime", provider="cpu", threads=1)


class Counting:
    """A guard that sees trouble in the rounds of `bad`."""

    def __init__(self, bad: set[int]) -> None:
        self.bad, self.round = bad, -1

    def begin(self) -> None:
        self.round += 1

    def trouble(self) -> str | None:
        return "thermal slowdown" if self.round in self.bad else None


def harness(machine: FakeMachine, guard: Any) -> Harness:
    arms = {arm: machine.step(arm) for arm in ("baseline", "candidate")}
    return Harness(arms=arms, batches=8, clock=machine, spec=tier("smoke", 0), guard=guard)  # type: ignore[arg-type]


def test_a_round_with_trouble_is_void_and_made_up_for() -> None:
    machine = FakeMachine(lambda arm, _: 2e6 if arm == "baseline" else 1e6)
    found = harness(machine, Counting({3, 7})).measure()
    assert [v.round for v in found.void] == [3, 7]
    assert {v.reason for v in found.void} == {"thermal slowdown"}
    replica = Replica(
        build=0, stationary=True, load_average=0.0, blocks=found.blocks, void=found.void
    )
    counted = {block.round for block in replica.counted}
    assert not counted & {3, 7} and len(counted) >= 12


def test_a_void_round_does_not_move_the_speedup() -> None:
    machine = FakeMachine(lambda arm, _: 3e6 if arm == "baseline" else 1e6)
    clean = harness(machine, Counting(set())).measure()
    blocks = tuple(
        TimedBlock(arm=b.arm, round=b.round, durations_ns=(1,)) if b.round == 0 else b
        for b in clean.blocks
    )
    voided = Replica(
        build=0,
        stationary=True,
        load_average=0.0,
        blocks=blocks,
        void=(VoidRound(round=0, reason="x"),),
    )
    assert speedup_interval([voided]).estimate == pytest.approx(3.0, rel=1e-3)


def test_more_than_a_fifth_void_is_unstable_and_backs_no_verdict(chain: TinyChain) -> None:
    record = timed(latency_of(chain), 2.0)
    assert record.baseline is not None
    control = replace(timed(record, 1.0), subject=record.baseline)
    (replica,) = record.replicas
    for count, unstable in ((2, False), (3, True)):
        void = tuple(VoidRound(round=i, reason="power brake") for i in range(count))
        cut = _with(record, Replica(**{**_fields(replica), "void": void}))
        assert is_unstable(cut) is unstable
        assert (judge(cut, control) is Verdict.INCONCLUSIVE) is unstable
        assert any(f"{count} rounds are void (power brake)" in text for text in doubts(cut))
        assert len(cut.blocks) == (48 if unstable else 4 * (12 - count))


def _fields(replica: Replica) -> dict[str, Any]:
    names = ("build", "stationary", "load_average", "blocks", "void")
    return {name: getattr(replica, name) for name in names}


def _with(record: Any, replica: Replica) -> Any:
    from dataclasses import replace

    return replace(record, replicas=(replica,))


def proc(folder: Path, waited_ns: int, throttled: int) -> tuple[Path, Path]:
    task = folder / "self" / "task" / "1"
    task.mkdir(parents=True, exist_ok=True)
    (task / "schedstat").write_text(f"5 {waited_ns} 7\n")
    (folder / "cpu.stat").write_text(f"usage_usec 1\nnr_throttled {throttled}\n")
    return folder, folder


def test_the_cpu_guard_sees_waiting_and_throttling(tmp_path: Path) -> None:
    guard = CpuGuard(*proc(tmp_path, 100, 2))
    guard.begin()
    assert guard.trouble() is None
    proc(tmp_path, 10**12, 2)
    assert guard.trouble() == "another process had the core"
    guard.begin()
    proc(tmp_path, 10**12, 3)
    assert guard.trouble() == "the control group was throttled"


def test_the_cpu_guard_is_content_where_the_kernel_tells_nothing(tmp_path: Path) -> None:
    guard = CpuGuard(tmp_path, tmp_path)
    guard.begin()
    assert guard.trouble() is None


PARENT = -3  # who that is may change while tests run in the background


def nvml(reasons: int = 0, processes: Sequence[int] = (-1,), energy_mj: int = 5) -> Any:
    return SimpleNamespace(
        nvmlClocksThrottleReasonHwSlowdown=8,
        nvmlClocksThrottleReasonHwThermalSlowdown=64,
        nvmlClocksThrottleReasonSwThermalSlowdown=32,
        nvmlClocksThrottleReasonHwPowerBrakeSlowdown=128,
        nvmlDeviceGetCurrentClocksThrottleReasons=lambda device: reasons,
        nvmlDeviceGetComputeRunningProcesses=lambda device: [
            SimpleNamespace(pid=os.getppid() if p == PARENT else p) for p in processes
        ],
        nvmlDeviceGetTotalEnergyConsumption=lambda device: energy_mj,
        NVML_CLOCK_SM=1,
        NVML_TEMPERATURE_GPU=0,
        nvmlDeviceGetClockInfo=lambda device, kind: 1980,
        nvmlDeviceGetMaxClockInfo=lambda device, kind: 1980,
        nvmlDeviceGetTemperature=lambda device, kind: 41,
        nvmlDeviceGetPowerUsage=lambda device: 123_400,
        nvmlDeviceGetEnforcedPowerLimit=lambda device: 700_000,
        nvmlDeviceGetPersistenceMode=lambda device: 1,
        nvmlDeviceGetName=lambda device: b"NVIDIA H1",
        nvmlDeviceGetMemoryInfo=lambda device: SimpleNamespace(total=80 * 10**9, used=10**9),
        nvmlSystemGetDriverVersion=lambda: "580.1",
    )


def test_a_device_is_part_of_the_environment_and_its_state_of_a_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(environment, "nvidia_device", lambda: (nvml(), object()))
    monkeypatch.setattr(guards, "nvidia_device", lambda: (nvml(), object()))
    found = environment._device.__wrapped__()
    assert found is not None
    assert (found.name, found.driver, found.power_limit_w) == ("NVIDIA H1", "580.1", 700)
    assert found.persistent and found.largest_clock_mhz == 1980
    gpu = RuntimeSpec(name="tensorrt", provider="cuda", threads=1)
    state = device_state([gpu])
    assert state is not None
    assert (state.clock_mhz, state.temperature_c, state.power_w) == (1980, 41, 123.4)
    assert device_state([ON_CPU]) is None


@pytest.mark.parametrize("order", [1, -1])
def test_arms_on_two_devices_are_watched_on_both_and_share_no_meter(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, order: int
) -> None:
    """Whichever was loaded last: the order alternates from process to process."""
    monkeypatch.setattr(guards, "nvidia_device", lambda: (nvml(reasons=32), object()))
    (tmp_path / "max_energy_range_uj").write_text("1000\n")
    (tmp_path / "energy_uj").write_text("900\n")
    monkeypatch.setattr(guards, "_RAPL", tmp_path)
    gpu = RuntimeSpec(name="onnxruntime", provider="cuda", threads=1)
    both = [gpu, ON_CPU][::order]
    guard = guard_for(both)
    guard.begin()
    assert guard.trouble() == "thermal slowdown"
    assert device_state(both) is not None
    assert meter_for(both) is None
    assert isinstance(meter_for([ON_CPU, ON_CPU]), RaplMeter)
    assert isinstance(meter_for([gpu, gpu]), NvidiaMeter)
    alone = guard_for([ON_CPU])
    alone.begin()
    assert alone.trouble() != "thermal slowdown"


@pytest.mark.parametrize(
    ("library", "told"),
    [
        (nvml(), None),
        (nvml(reasons=1), None),  # idle: no slowdown
        (nvml(reasons=32), "thermal slowdown"),
        (nvml(reasons=128), "power brake"),
        (nvml(processes=(-1, -2)), "another process is on the device"),
        (nvml(processes=(-1, PARENT)), None),  # what started this one waits for it
        (nvml(processes=(-1, -2, PARENT)), "another process is on the device"),
    ],
)
def test_the_guard_of_a_device_sees_slowdowns_and_others(library: Any, told: str | None) -> None:
    guard = Guards([Unguarded(), NvidiaGuard(library, object())])
    guard.begin()
    assert guard.trouble() == told
    assert NvidiaMeter(library, object()).energy_uj() == 5000


def test_the_meter_of_a_package_wraps(tmp_path: Path) -> None:
    (tmp_path / "max_energy_range_uj").write_text("1000\n")
    (tmp_path / "energy_uj").write_text("900\n")
    meter = RaplMeter(tmp_path)
    first = meter.energy_uj()
    (tmp_path / "energy_uj").write_text("50\n")
    assert meter.energy_uj() - first == 150


def test_blocks_hold_the_energy_between_their_ends() -> None:
    machine = FakeMachine(lambda arm, _: 1e6)

    class Meter:
        def energy_uj(self) -> int:
            return machine.time_ns // 1000

    arms = {arm: machine.step(arm) for arm in ("baseline", "candidate")}
    own = Harness(
        arms=arms,  # type: ignore[arg-type]
        batches=8,
        clock=machine,
        spec=tier("smoke", 0),
        meter=Meter(),
    )
    for block in own.measure().blocks:
        assert block.energy_uj == 1000 * len(block.durations_ns)


def test_a_cpu_without_a_counter_has_no_meter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards, "_RAPL", tmp_path / "none")
    assert meter_for([ON_CPU]) is None


def test_other_processes_are_seen_by_the_ticks_of_all_cores(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu  1 2 3 4 5 6 7 8\n")
    assert busy_cores(tmp_path / "stat", 0.01) == 0
    assert busy_cores(tmp_path / "none", 0.01) == 0
