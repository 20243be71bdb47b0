"""What a measurement ran on; nothing that names a person or a place."""

import os
import platform
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

LIBRARIES = (
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "tensorrt",
    "timm",
    "torch",
    "torch-pruning",
    "torchvision",
)
_CPU_NUMBERS = ("family", "model", "stepping", "implementer", "variant", "part", "revision")


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """An NVIDIA device, its driver, and the policy that its clocks follow."""

    name: str
    driver: str
    memory_bytes: int
    power_limit_w: float
    largest_clock_mhz: int
    persistent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Machine and libraries.

    Two latencies may be compared only where these are equal.
    """

    cpu: str
    cores: int
    cpu_quota_cores: float | None
    governor: str | None
    memory_bytes: int
    system: str
    python: str
    libraries: dict[str, str]
    device: Device | None = None


def threads_here() -> int:
    """Threads for what need not be timed: `OMP_NUM_THREADS`, or all cores this process may use.

    A sweep sets it for its workers, which would otherwise fight for the same cores.
    """
    cores = len(os.sched_getaffinity(0))
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(int(asked), cores) if asked.isdigit() and int(asked) else cores


def current_environment() -> Environment:
    """The environment of this process."""
    return Environment(
        cpu=cpu_name(_read("/proc/cpuinfo") or "", _read("/proc/device-tree/model")),
        cores=len(os.sched_getaffinity(0)),
        cpu_quota_cores=_cpu_quota(),
        governor=_read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
        python=platform.python_version(),
        libraries=installed_libraries(),
        device=_device(),
    )


def installed_libraries() -> dict[str, str]:
    """Versions of the libraries whose version can move a number."""
    found: dict[str, str] = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def nvidia_device() -> tuple[Any, Any] | None:
    """NVML and the device that CUDA computes on first; None where there is neither.

    NVML counts all devices, whatever `CUDA_VISIBLE_DEVICES` hides; CUDA counts as NVML does, by
    bus, where devices are alike or `CUDA_DEVICE_ORDER` is `PCI_BUS_ID`.
    """
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    try:
        import pynvml

        pynvml.nvmlInit()
        if first.startswith(("GPU-", "MIG-")):
            return pynvml, pynvml.nvmlDeviceGetHandleByUUID(first)
        return pynvml, pynvml.nvmlDeviceGetHandleByIndex(int(first))
    except Exception:  # a library that is missing, or its own errors: there is no such device
        return None


@cache
def _device() -> Device | None:
    found = nvidia_device()
    if found is None:
        return None
    nvml, handle = found
    return Device(
        name=_text(nvml.nvmlDeviceGetName(handle)),
        driver=_text(nvml.nvmlSystemGetDriverVersion()),
        memory_bytes=int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
        power_limit_w=nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1e3,
        largest_clock_mhz=int(nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_SM)),
        persistent=bool(nvml.nvmlDeviceGetPersistenceMode(handle)),
    )


def _text(value: str | bytes) -> str:
    """Older bindings give bytes."""
    return value.decode() if isinstance(value, bytes) else value


def cpu_name(cpuinfo: str, board: str | None = None) -> str:
    """Processor as /proc/cpuinfo has it, by name and by the numbers that tell its kind.

    A virtual machine may say "AMD EPYC" for several generations, and ARM cores have no name there;
    `board` (/proc/device-tree/model) then stands in.
    """
    first, *_ = cpuinfo.split("\n\n")
    pairs = (line.partition(":") for line in first.splitlines())
    known = {key.strip(): value.strip() for key, _, value in pairs}
    name = known.get("model name") or (board or "").strip("\0 \n") or platform.processor()
    numbers = {key.removeprefix("cpu ").removeprefix("CPU "): known[key] for key in known}
    kind = ", ".join(f"{key} {numbers[key]}" for key in _CPU_NUMBERS if numbers.get(key))
    return f"{name or 'unknown'} ({kind})" if kind else name or "unknown"


def _cpu_quota() -> float | None:
    """Cores that the control group may use, or None where it sets no limit."""
    limit = _read("/sys/fs/cgroup/cpu.max")
    if limit is None or limit.startswith("max"):
        return None
    quota, period = limit.split()
    return int(quota) / int(period)


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None
