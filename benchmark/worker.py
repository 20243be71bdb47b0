"""The child process that times: all arms loaded, threads pinned, nothing else imported.

Started as `python -m benchmark.worker JOB PIXELS RESULT`. torch is imported only where it is what
is timed: a second thread pool in the process would spin against the first.
"""

import gc
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmark.guards import device_state, guard_for, meter_for
from benchmark.harness import Harness, Measurement, Step
from benchmark.job import Job, serve
from benchmark.subject import open_subject, proven
from dgprune.data.preprocessing import Bytes
from dgprune.proof import Proof
from dgprune.timing import Arm, DeviceState


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What was measured, and what each arm really executed."""

    measurement: Measurement
    proofs: dict[Arm, Proof]
    device: tuple[DeviceState, DeviceState] | None = None


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
        for name, arm in job.arms.items():
            subject = open_subject(Path(arm.folder))
            runtime = stack.enter_context(subject.run(arm.runtime))
            proofs[name] = proven(runtime, subject, arm.runtime, job.batch_size)
            runtime.bind([subject.inputs(part) for part in job.parts(pixels)])
            steps[name] = runtime.infer
        runtimes = [arm.runtime for arm in job.arms.values()]
        gc.collect()
        gc.freeze()
        gc.disable()
        harness = Harness(
            arms=steps,
            batches=job.batches,
            clock=HostClock(),
            spec=job.spec,
            guard=guard_for(runtimes),
            meter=meter_for(runtimes),
        )
        before = device_state(runtimes)
        measurement = harness.measure()
        after = device_state(runtimes)
        device = (before, after) if before and after else None
        return Result(measurement=measurement, proofs=proofs, device=device)


if __name__ == "__main__":
    serve(run)
