"""The child process that times: both arms loaded, threads pinned, nothing else imported.

Started by `benchmark.child` as `python -m benchmark.worker JOB PIXELS RESULT`. torch is not
imported here: a second thread pool in the process would spin against the one that is timed.
"""

import gc
import json
import os
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.harness import Harness, Measurement, Step
from benchmark.runtimes import Runtime
from benchmark.runtimes.onnxruntime import OnnxRuntime
from dgprune.data.preprocessing import Bytes, Preprocessing, to_input
from dgprune.records import Arm, BenchSpec, RuntimeSpec
from dgprune.schema import decode, encode, read_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the child measures: the files of the arms, and how."""

    arms: dict[Arm, str]
    runtime: RuntimeSpec
    spec: BenchSpec
    batch_size: int
    batches: int
    preprocessing: Preprocessing


class HostClock:
    """The monotonic clock of the host."""

    def now_ns(self) -> int:
        """Nanoseconds since some moment."""
        return time.perf_counter_ns()


def run(job: Job, pixels: Bytes) -> Measurement:
    """Samples of the job's arms on pixels [images, px, px, 3], taken in this process."""
    pin(job.runtime.threads)
    batches = [
        to_input(pixels[i * job.batch_size : (i + 1) * job.batch_size], job.preprocessing)
        for i in range(job.batches)
    ]
    steps: dict[Arm, Step] = {}
    with ExitStack() as stack:
        for arm, file in job.arms.items():
            runtime: Runtime = stack.enter_context(OnnxRuntime(Path(file), job.runtime))
            runtime.bind(batches)
            steps[arm] = runtime.infer
        gc.collect()
        gc.freeze()
        gc.disable()
        harness = Harness(arms=steps, batches=job.batches, clock=HostClock(), spec=job.spec)
        return harness.measure()


def pin(threads: int) -> None:
    """Keeps this process on as many cores as it has threads, the last ones that it may use."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[-threads:])


def main() -> None:
    """Reads the files of the job and of the pixels, writes the file of the result."""
    source, array, result = map(Path, sys.argv[1:4])
    job = decode(Job, read_json(source), where=str(source))
    result.write_text(json.dumps(encode(run(job, np.load(array)))))


if __name__ == "__main__":
    main()
