"""The child process of a cold start: one arm, loaded and called once.

Started as `python -m benchmark.cold JOB PIXELS RESULT`. The runtime's library is imported, and the
file checked, before: what is timed and weighed is the model.
"""

import contextlib
import importlib
import time
from pathlib import Path

from benchmark.job import Job, serve
from benchmark.subject import open_subject
from dgprune.data.preprocessing import Bytes
from dgprune.environment import nvidia_device
from dgprune.runtimes.opening import open_runtime
from dgprune.timing import ColdStart

_LIBRARIES = {"torch-compile": "torch", "torch": "torch"}
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def run(job: Job, pixels: Bytes) -> ColdStart:
    """Time and memory of the job's only arm, from its file to its first result."""
    (arm,) = job.arms.values()
    name = arm.runtime.name
    importlib.import_module(_LIBRARIES.get(name, name))
    subject = open_subject(Path(arm.folder))  # reads the whole file, as its digest is checked
    inputs = [subject.inputs(job.parts(pixels)[0])]
    opened = open_runtime(subject.opened, arm.runtime)
    with contextlib.suppress(OSError):
        _CLEAR.write_text("5")  # forgets the peak of the imports
    before = _status_bytes("VmRSS")
    start = time.perf_counter_ns()
    with opened as runtime:
        loaded = time.perf_counter_ns()
        runtime.bind(inputs)
        bound = time.perf_counter_ns()
        runtime.infer(0)
        called = time.perf_counter_ns()
        device_bytes = _device_bytes() if arm.runtime.provider != "cpu" else None
    return ColdStart(
        load_ns=loaded - start,
        first_call_ns=called - bound,
        host_bytes=max(0, _status_bytes("VmHWM") - before),
        device_bytes=device_bytes,
    )


def _status_bytes(key: str) -> int:
    """A size that the kernel keeps of this process."""
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{key}:"):
            return 1024 * int(line.split()[1])
    return 0


def _device_bytes() -> int | None:
    """Bytes in use on the device, by all processes."""
    nvml = nvidia_device()
    if nvml is None:
        return None
    library, device = nvml
    return int(library.nvmlDeviceGetMemoryInfo(device).used)


if __name__ == "__main__":
    serve(run)
