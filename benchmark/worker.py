"""The child process that times: both arms loaded, threads pinned, nothing else imported.

Started by `benchmark.child` as `python -m benchmark.worker JOB PIXELS RESULT`. torch is imported
only where it is what is timed: a second thread pool in the process would spin against the first.
"""

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.harness import Harness, Measurement, Step
from benchmark.subject import open_subject, proven
from dgprune.data.preprocessing import Bytes
from dgprune.errors import DgpruneError
from dgprune.proof import Proof
from dgprune.records import Arm, BenchSpec, RuntimeSpec
from dgprune.schema import decode, encode, read_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the child measures: the folders of the arms, and how."""

    arms: dict[Arm, str]
    runtime: RuntimeSpec
    spec: BenchSpec
    batch_size: int
    batches: int

    def parts(self, pixels: Bytes) -> list[Bytes]:
        """The batches [batch, px, px, 3] of pixels [images, px, px, 3]."""
        size = self.batch_size
        return [pixels[i * size : (i + 1) * size] for i in range(self.batches)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What was measured, and what each arm really executed."""

    measurement: Measurement
    proofs: dict[Arm, Proof]


class HostClock:
    """The monotonic clock of the host."""

    def now_ns(self) -> int:
        """Nanoseconds since some moment."""
        return time.perf_counter_ns()


def run(job: Job, pixels: Bytes) -> Result:
    """Samples of the job's arms on pixels [images, px, px, 3], taken in this process."""
    steps: dict[Arm, Step] = {}
    proofs: dict[Arm, Proof] = {}
    with ExitStack() as stack:
        for arm, folder in job.arms.items():
            subject = open_subject(Path(folder))
            runtime = stack.enter_context(subject.run(job.runtime))
            proofs[arm] = proven(runtime, subject, job.runtime, job.batch_size)
            runtime.bind([subject.inputs(part) for part in job.parts(pixels)])
            steps[arm] = runtime.infer
        gc.collect()
        gc.freeze()
        gc.disable()
        harness = Harness(arms=steps, batches=job.batches, clock=HostClock(), spec=job.spec)
        return Result(measurement=harness.measure(), proofs=proofs)


def pin(threads: int) -> None:
    """Keeps this process on as many cores as it has threads, the last ones that it may use."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[-threads:])


def serve(measure: Callable[[Job, Bytes], Any]) -> None:
    """Reads the files of the job and of the pixels, writes the file of what `measure` found."""
    source, array, result = map(Path, sys.argv[1:4])
    job = decode(Job, read_json(source), where=str(source))
    pin(job.runtime.threads)
    try:
        found = measure(job, np.load(array))
    except DgpruneError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    result.write_text(json.dumps(encode(found)))


if __name__ == "__main__":
    serve(run)
