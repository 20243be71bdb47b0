"""Records of a whole sweep, made by hand: every file's accuracy, latency, profile, by formula."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from dgprune.node_kinds import KINDS
from dgprune.node_times import NodeTime
from dgprune.records import (
    AccuracyRecord,
    Entry,
    LatencyRecord,
    ProfileRecord,
    Record,
    Subject,
    append_records,
)
from dgprune.schema import digest
from dgprune.timing import Arm, Replica, TimedBlock
from tests.fakes.accuracy import seen
from tests.fakes.sweep_files import File, Sweep, dense_beside, files, subject_of, template

_DENSE_NS = 4_000_000
_ARMS: tuple[Arm, ...] = ("baseline", "candidate", "candidate", "baseline")


def sweep_entries(sweep: Sweep) -> list[Entry]:
    """Every record of `sweep`, as if read from a file."""
    return as_entries(sweep_records(sweep))


def as_entries(records: Sequence[Record], of: str = "") -> list[Entry]:
    """`records` as if read from a file; ids differ between calls of another `of`."""
    return [
        Entry(id=digest([of, n, record.subject.sha256])[:16], cell="cell", record=record)
        for n, record in enumerate(records)
    ]


def write_records(path: Path, records: list[Record]) -> Path:
    """A records file of `records`."""
    append_records(path, "cell", records)
    return path


def sweep_records(sweep: Sweep) -> list[Record]:
    """Every record of `sweep`: accuracies of a file, then its latencies."""
    return [record for file in files(sweep) for record in records_of(sweep, file)]


def entries_of_files(sweep: Sweep, found: Iterable[File]) -> list[Entry]:
    """Every record of the files `found`, as if read from a file."""
    return as_entries([record for file in found for record in records_of(sweep, file)])


def records_of(sweep: Sweep, file: File) -> Iterator[Record]:
    """Every record of one file."""
    subject = subject_of(sweep, file)
    if sweep.judged:
        for domain in sweep.domains:
            yield accuracy_of(sweep, file, subject, domain)
    if file.criterion or sweep.control:
        for size in sweep.batches:
            yield latency_of(sweep, file, subject, size)


def hits(sweep: Sweep, file: File, domain: str) -> int:
    """Images that `file` has right: fewer the more was pruned, and fewer on what is unseen."""
    if file.right is not None:
        return file.right
    share = 0.9 - 0.4 * file.ratio**2 - 0.15 * (domain == file.target) - 0.01 * file.seed
    share -= 0.03 * math.sin(7 * file.place + 3 * sweep.domains.index(domain)) * bool(file.place)
    return max(0, min(sweep.images, round(share * sweep.images)))


def speedup_of(file: File, batch: int) -> float:
    """What the latency record of `file` at `batch` comes to."""
    if file.speedup is not None:
        return file.speedup
    return (1 + 2.5 * file.ratio) * (1 + 0.02 * math.log2(batch) + 0.03 * math.sin(file.place))


def accuracy_of(sweep: Sweep, file: File, subject: Subject, domain: str) -> AccuracyRecord:
    """The accuracy of `file` on `domain`."""
    right = hits(sweep, file, domain)
    role: Literal["source-val", "target"] = "target" if domain == file.target else "source-val"
    labels = [0] * sweep.images
    predictions = [0] * right + [1] * (sweep.images - right)
    record = seen(labels, predictions, domain=domain, role=role, images=domain)
    runtime = replace(record.runtime, name=file.runtime)
    return replace(record, subject=subject, runtime=runtime)


def latency_of(sweep: Sweep, file: File, subject: Subject, batch: int) -> LatencyRecord:
    """`file` against its dense one at `batch`; the dense one against itself."""
    like = template()
    baseline = subject_of(sweep, dense_beside(file))
    fast = _DENSE_NS * batch / speedup_of(file, batch) if file.criterion else _DENSE_NS * batch
    blocks = tuple(
        TimedBlock(arm=arm, round=index, durations_ns=_durations(ns, index, sweep.calls))
        for index in range(sweep.rounds)
        for arm in _ARMS
        for ns in (_DENSE_NS * batch if arm == "baseline" else fast * _wobble(file, index),)
    )
    replica = Replica(build=0, stationary=True, load_average=0.0, blocks=blocks)
    return replace(
        like,
        subject=subject,
        baseline=baseline,
        runtime=replace(like.runtime, name=file.runtime),
        batch_size=batch,
        replicas=(replica,),
    )


def _wobble(file: File, index: int) -> float:
    """Rounds are up to 3 % apart, another way for every file."""
    return 1 if file.speedup is not None else 1 + 0.03 * math.sin(index * 3 + file.place)


def _durations(middle_ns: float, index: int, calls: int) -> tuple[int, ...]:
    """Calls of one block: up to 1 % around the middle, another every round."""
    return tuple(
        round(middle_ns * (1 + 0.01 * math.sin(index * 5 + call * 11))) for call in range(calls)
    )


def profile_of(sweep: Sweep, file: File) -> ProfileRecord:
    """A node a kind, of `file` and of its dense one."""
    latency = latency_of(sweep, file, subject_of(sweep, file), 1)
    assert latency.proof is not None and latency.baseline is not None
    return ProfileRecord(
        subject=latency.subject,
        baseline=latency.baseline,
        runtime=latency.runtime,
        batch_size=1,
        calls=1,
        inputs_sha256=latency.inputs_sha256,
        nodes=_nodes(1 + file.ratio),
        baseline_nodes=_nodes(1.0),
        environment=latency.environment,
        proof=latency.proof,
        baseline_proof=latency.baseline_proof,
    )


def _nodes(faster: float) -> tuple[NodeTime, ...]:
    return tuple(
        NodeTime(name=kind, op="MatMul", kind=kind, durations_ns=(round(1e6 * n / faster),))
        for n, kind in enumerate(KINDS, 1)
    )
