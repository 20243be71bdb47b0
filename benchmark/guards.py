"""What voids a round, and what counts energy: read between blocks, never while a call is timed."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark.harness import Guard, Meter
from dgprune.environment import nvidia_device
from dgprune.records import RuntimeSpec
from dgprune.timing import DeviceState

_WAITED = 0.05  # of a round, for a core that was somebody else's
_RAPL = Path("/sys/class/powercap/intel-rapl:0")


def guard_for(runtimes: Sequence[RuntimeSpec]) -> Guard:
    """What watches every device that one of `runtimes` computes on, and always the CPU."""
    nvml = _nvidia_of(runtimes)
    watched: list[Guard] = [CpuGuard()]
    return Guards([*watched, NvidiaGuard(*nvml)] if nvml else watched)


def meter_for(runtimes: Sequence[RuntimeSpec]) -> Meter | None:
    """The energy counter of the device that `runtimes` compute on.

    None where it has none, or where they compute on several: two counters add up to nothing.
    """
    on_cpu = {runtime.provider == "cpu" for runtime in runtimes}
    if len(on_cpu) > 1:
        return None
    if not on_cpu.pop():
        nvml = nvidia_device()
        return NvidiaMeter(*nvml) if nvml else None
    try:
        return RaplMeter(_RAPL)
    except (OSError, ValueError):
        return None


def _nvidia_of(runtimes: Sequence[RuntimeSpec]) -> tuple[Any, Any] | None:
    """NVML and the device, where one of `runtimes` computes there."""
    return nvidia_device() if any(runtime.provider != "cpu" for runtime in runtimes) else None


class Guards:
    """Several guards as one; the first trouble is told."""

    def __init__(self, watched: Sequence[Guard]) -> None:
        self._watched = watched

    def begin(self) -> None:
        """A round begins."""
        for guard in self._watched:
            guard.begin()

    def trouble(self) -> str | None:
        """What the first guard saw that saw anything."""
        return next((told for guard in self._watched if (told := guard.trouble())), None)


class CpuGuard:
    """Sees when this process waits for a core, and when its control group is throttled."""

    def __init__(self, proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> None:
        self._tasks = proc / "self" / "task"
        self._cgroup = cgroup / "cpu.stat"

    def begin(self) -> None:
        """A round begins."""
        self._start_ns = time.perf_counter_ns()
        self._before = self._waited_ns(), self._throttled()

    def trouble(self) -> str | None:
        """Waiting for a core for over 5 % of the round, or any throttling."""
        waited, throttled = self._before
        if self._throttled() > throttled:
            return "the control group was throttled"
        lasted = time.perf_counter_ns() - self._start_ns
        if self._waited_ns() - waited > _WAITED * lasted:
            return "another process had the core"
        return None

    def _waited_ns(self) -> int:
        """Nanoseconds that the threads of this process have waited for a core."""
        total = 0
        for entry in self._tasks.glob("*/schedstat"):
            try:
                total += int(entry.read_text().split()[1])
            except (OSError, IndexError, ValueError):  # a thread that ended
                continue
        return total

    def _throttled(self) -> int:
        """How often the control group's quota has run out."""
        try:
            lines = self._cgroup.read_text().splitlines()
        except OSError:
            return 0
        return sum(int(line.split()[1]) for line in lines if line.startswith("nr_throttled "))


class NvidiaGuard:
    """Sees slowdowns of the clocks, and other processes on the device."""

    def __init__(self, nvml: Any, device: Any) -> None:
        self._nvml, self._device = nvml, device
        self._slowdowns = {
            nvml.nvmlClocksThrottleReasonHwSlowdown: "hardware slowdown",
            nvml.nvmlClocksThrottleReasonHwThermalSlowdown: "thermal slowdown",
            nvml.nvmlClocksThrottleReasonSwThermalSlowdown: "thermal slowdown",
            nvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown: "power brake",
        }

    def begin(self) -> None:
        """A round begins; what the device does is asked when it ends."""

    def trouble(self) -> str | None:
        """A slowdown that is on, or another process that computes."""
        reasons = self._nvml.nvmlDeviceGetCurrentClocksThrottleReasons(self._device)
        for bit, words in self._slowdowns.items():
            if reasons & bit:
                return words
        running = self._nvml.nvmlDeviceGetComputeRunningProcesses(self._device)
        asleep = any(process.pid == os.getppid() for process in running)  # it waits for this one
        return "another process is on the device" if len(running) > 1 + asleep else None


def device_state(runtimes: Sequence[RuntimeSpec]) -> DeviceState | None:
    """Clock, temperature and power of the device that one of `runtimes` computes on, if any."""
    found = _nvidia_of(runtimes)
    if found is None:
        return None
    nvml, device = found
    return DeviceState(
        clock_mhz=int(nvml.nvmlDeviceGetClockInfo(device, nvml.NVML_CLOCK_SM)),
        temperature_c=int(nvml.nvmlDeviceGetTemperature(device, nvml.NVML_TEMPERATURE_GPU)),
        power_w=nvml.nvmlDeviceGetPowerUsage(device) / 1e3,
    )


class NvidiaMeter:
    """The energy counter of an NVIDIA device (Volta and later)."""

    def __init__(self, nvml: Any, device: Any) -> None:
        self._nvml, self._device = nvml, device

    def energy_uj(self) -> int:
        """Microjoules since the driver was loaded."""
        return 1000 * int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._device))


class RaplMeter:
    """The energy counter of a CPU package, which wraps around."""

    def __init__(self, folder: Path) -> None:
        self._counter = folder / "energy_uj"
        self._range = int((folder / "max_energy_range_uj").read_text())
        self._last, self._wrapped = int(self._counter.read_text()), 0

    def energy_uj(self) -> int:
        """Microjoules since some moment."""
        now = int(self._counter.read_text())
        if now < self._last:
            self._wrapped += self._range
        self._last = now
        return now + self._wrapped
