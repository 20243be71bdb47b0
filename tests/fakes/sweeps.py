"""Records of a whole sweep, made by hand: every file's accuracy, latency, profile, by formula."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Literal

from dgprune.lineage import LineageStep, Origin
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
    read_records,
)
from dgprune.schema import Json, digest
from dgprune.structure import Block, Structure
from dgprune.timing import Arm, Replica, TimedBlock
from tests.fakes.accuracy import FIXTURE, seen

_DENSE_NS = 4_000_000
_ARMS: tuple[Arm, ...] = ("baseline", "candidate", "candidate", "baseline")


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What is crossed with what; every number of a record follows from its place in the cross."""

    model: str = "vit_tiny"
    data: str = "noise"
    domains: tuple[str, ...] = ("a", "b", "c")
    targets: tuple[str, ...] = ("c",)
    seeds: tuple[int, ...] = (0,)
    criteria: tuple[str, ...] = ("l1", "taylor")
    ratios: tuple[float, ...] = (0.25, 0.5, 0.75)
    rankings: tuple[str, ...] = ("global",)
    executed: tuple[tuple[str, str], ...] = (("onnxruntime", "fp32"),)
    batches: tuple[int, ...] = (1, 8)
    judged: bool = True
    control: bool = True
    images: int = 40
    rounds: int = 12
    calls: int = 4
    depth: int = 3
    label: str = "{ranking}{criterion}-{percent}"


@dataclass(frozen=True, kw_only=True)
class File:
    """One file of a sweep: `criterion` is "" of the dense one, `place` counts files."""

    target: str
    seed: int
    runtime: str
    precision: str
    criterion: str = ""
    ratio: float = 0.0
    ranking: str = "global"
    place: int = 0


def sweep_entries(sweep: Sweep) -> list[Entry]:
    """Every record of `sweep`, as if read from a file."""
    return [
        Entry(id=digest([n, r.subject.sha256, repr(sweep)])[:16], cell=r.subject.sha256, record=r)
        for n, r in enumerate(sweep_records(sweep))
    ]


def write_records(path: Path, records: list[Record]) -> Path:
    """A records file of `records`."""
    append_records(path, "cell", records)
    return path


def sweep_records(sweep: Sweep) -> list[Record]:
    """Every record of `sweep`: accuracies of a file, then its latencies."""
    return [record for file in files(sweep) for record in _records(sweep, file)]


def files(sweep: Sweep) -> Iterator[File]:
    """The dense file, then the pruned ones, by target, seed and what executes them."""
    for target, seed, (runtime, precision) in product(sweep.targets, sweep.seeds, sweep.executed):
        dense = File(target=target, seed=seed, runtime=runtime, precision=precision)
        yield dense
        ways = product(sweep.criteria, sweep.rankings, sweep.ratios)
        for place, (criterion, ranking, ratio) in enumerate(ways, 1):
            yield replace(dense, criterion=criterion, ratio=ratio, ranking=ranking, place=place)


def _records(sweep: Sweep, file: File) -> Iterator[Record]:
    subject = subject_of(sweep, file)
    if sweep.judged:
        for domain in sweep.domains:
            yield accuracy_of(sweep, file, subject, domain)
    if file.criterion or sweep.control:
        for size in sweep.batches:
            yield latency_of(sweep, file, subject, size)


def hits(sweep: Sweep, file: File, domain: str) -> int:
    """Images that `file` has right: fewer the more was pruned, and fewer on what is unseen."""
    share = 0.9 - 0.4 * file.ratio**2 - 0.15 * (domain == file.target) - 0.01 * file.seed
    share -= 0.03 * math.sin(7 * file.place + 3 * sweep.domains.index(domain)) * bool(file.place)
    return max(0, min(sweep.images, round(share * sweep.images)))


def speedup_of(file: File, batch: int) -> float:
    """What the latency record of `file` at `batch` comes to."""
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
    template = read_template()
    baseline = subject_of(sweep, replace(file, criterion="", ratio=0.0, ranking="global", place=0))
    fast = _DENSE_NS * batch / speedup_of(file, batch) if file.criterion else _DENSE_NS * batch
    blocks = tuple(
        TimedBlock(arm=arm, round=index, durations_ns=_durations(ns, index, sweep.calls))
        for index in range(sweep.rounds)
        for arm in _ARMS
        for ns in (_DENSE_NS * batch if arm == "baseline" else fast * _wobble(file, index),)
    )
    replica = Replica(build=0, stationary=True, load_average=0.0, blocks=blocks)
    return replace(
        template,
        subject=subject,
        baseline=baseline,
        runtime=replace(template.runtime, name=file.runtime),
        batch_size=batch,
        replicas=(replica,),
    )


def _wobble(file: File, index: int) -> float:
    """Rounds are up to 3 % apart, another way for every file."""
    return 1 + 0.03 * math.sin(index * 3 + file.place)


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


def subject_of(sweep: Sweep, file: File) -> Subject:
    """The file that every record of it speaks of."""
    spec: Json = {"criterion": file.criterion, "ranking": file.ranking, "ratio": file.ratio}
    seed = {"seed": file.seed}
    steps = [_step("source", seed, file), _step("finetune", seed, file)]
    if file.criterion:
        steps += [_step("prune", spec | seed, file), _step("finetune", seed | {"after": 1}, file)]
    steps.append(_step("export", {"precision": file.precision}, file))
    template = read_template().subject
    preprocessing = template.origin.preprocessing
    return Subject(
        label=_label(sweep, file),
        sha256=digest([sweep.model, sweep.data, repr(file)]),
        size_bytes=round(1e6 * (1 - file.ratio) + 1e5),
        format="onnx",
        precision=file.precision,
        structure=_structure(sweep, file),
        origin=Origin(
            model=sweep.model,
            data_name=sweep.data,
            data_digest=digest(sweep.data),
            split_digest=digest([sweep.data, file.target]),
            split_seed=0,
            target=file.target,
            classes=("0", "1", "2", "3"),
            preprocessing=preprocessing,
        ),
        lineage=tuple(steps),
    )


def _label(sweep: Sweep, file: File) -> str:
    if not file.criterion:
        return "dense"
    ranking = "" if file.ranking == "global" else f"{file.ranking}-"
    percent = f"{100 * file.ratio:g}"
    return sweep.label.format(ranking=ranking, criterion=file.criterion, percent=percent)


def _structure(sweep: Sweep, file: File) -> Structure:
    """Later blocks lose more of their MLP, none of them all of it."""
    template = read_template().subject.structure
    blocks = tuple(
        Block(
            num_heads=3 if file.ratio < 0.5 else 2,
            head_dim=64,
            mlp_hidden=max(1, round(768 * (1 - file.ratio * (n + 1) / sweep.depth))),
        )
        for n in range(sweep.depth)
    )
    return replace(template, model=sweep.model, embed_dim=192, blocks=blocks)


def _step(stage: str, spec: Json, file: File) -> LineageStep:
    dense = stage == "source" or (stage == "finetune" and "after" not in spec)
    of = [file.target, file.seed] if dense else repr(file)
    return LineageStep(stage=stage, digest=digest([stage, spec, of]), spec=spec)


_TEMPLATES: list[LatencyRecord] = []


def read_template() -> LatencyRecord:
    """A latency record of an old run: everything of it that a sweep does not set."""
    if not _TEMPLATES:
        found = [e.record for e in read_records(FIXTURE)]
        _TEMPLATES.extend(r for r in found if isinstance(r, LatencyRecord))
    return _TEMPLATES[0]
