"""The machine that something was measured on, and the runtime that computed, in one line."""

from dgprune.environment import Environment
from dgprune.records import LatencyRecord

_PACKAGES = {"onnxruntime": ("onnxruntime", "onnxruntime-gpu"), "torch-compile": ("torch",)}


def machine_text(environment: Environment) -> str:
    """Processor, memory, device, system and libraries."""
    env = environment
    libraries = ", ".join(f"{name} {version}" for name, version in sorted(env.libraries.items()))
    device = f", {env.device.name} (driver {env.device.driver})" if env.device else ""
    governor = f", governor {env.governor}" if env.governor else ""
    return (
        f"{env.cpu}, {env.cores} cores{governor}, {env.memory_bytes / 2**30:.0f} GiB"
        f"{device}; {env.system}; Python {env.python}; {libraries}"
    )


def version_of(record: LatencyRecord) -> str:
    """The version of the library that computed, by whichever of its packages is installed."""
    libraries, name = record.environment.libraries, record.runtime.name
    packages = _PACKAGES.get(name, (name,))
    return next((libraries[package] for package in packages if package in libraries), "")


def runtime_text(record: LatencyRecord, hardware: str = "") -> str:
    """The runtime, its version, its threads and, where it is given, what computed."""
    runtime = record.runtime
    threads = "1 thread" if runtime.threads == 1 else f"{runtime.threads} threads"
    name = f"{runtime.name} {version_of(record)}".strip()
    return f"{name} ({', '.join(filter(None, (runtime.provider, threads, hardware)))})"
