"""What a measurement ran on; nothing that names a person or a place."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

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


def current_environment() -> Environment:
    """The environment of this process."""
    return Environment(
        cpu=_cpu_name(),
        cores=len(os.sched_getaffinity(0)),
        cpu_quota_cores=_cpu_quota(),
        governor=_read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
        python=platform.python_version(),
        libraries=installed_libraries(),
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


def _cpu_name() -> str:
    for line in (_read("/proc/cpuinfo") or "").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


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
