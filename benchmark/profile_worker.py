"""The child process that profiles: both arms loaded, called in alternation, node by node.

Started by `benchmark.child` as `python -m benchmark.profile_worker JOB PIXELS RESULT`.
"""

import gc
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmark.job import Job, serve
from benchmark.subject import open_subject, proven
from dgprune.artefact import OpenArtefact
from dgprune.data.preprocessing import Bytes
from dgprune.node_times import NodeTime
from dgprune.proof import Proof
from dgprune.runtimes import NodeTimer
from dgprune.runtimes.opening import open_node_timer
from dgprune.timing import Arm

WARM_UP = 5  # calls of each arm that are not measured
BLOCK = 10  # calls in a row of one arm
ROUNDS = 2
CALLS = 2 * ROUNDS * BLOCK  # of each arm


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileResult:
    """Time of every node of each arm, and what each arm really executed."""

    nodes: dict[Arm, tuple[NodeTime, ...]]
    proofs: dict[Arm, Proof]


def run(job: Job, pixels: Bytes) -> ProfileResult:
    """Node times of the job's arms on pixels [images, px, px, 3], taken in this process."""
    timers: dict[Arm, NodeTimer] = {}
    proofs: dict[Arm, Proof] = {}
    with ExitStack() as stack:
        for arm, asked in job.arms.items():
            subject = open_subject(Path(asked.folder))
            assert isinstance(subject.opened, OpenArtefact)
            timer = stack.enter_context(open_node_timer(subject.opened, asked.runtime))
            proofs[arm] = proven(timer, subject, asked.runtime, job.batch_size)
            timer.profile()
            timer.bind([subject.inputs(part) for part in job.parts(pixels)])
            timers[arm] = timer
        gc.disable()
        call_in_alternation(timers, job.batches)
        nodes = {arm: timer.node_times(WARM_UP) for arm, timer in timers.items()}
    return ProfileResult(nodes=nodes, proofs=proofs)


def call_in_alternation(timers: dict[Arm, NodeTimer], batches: int) -> None:
    """Warms every arm up, then calls each `CALLS` times, ABBA, so that drift hits both alike."""
    for timer in timers.values():
        _call(timer, WARM_UP, batches)
    for _ in range(ROUNDS):
        for arm in (*timers, *reversed(timers)):
            _call(timers[arm], BLOCK, batches)


def _call(timer: NodeTimer, calls: int, batches: int) -> None:
    for index in range(calls):
        timer.infer(index % batches)


if __name__ == "__main__":
    serve(run)
