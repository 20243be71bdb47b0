"""The stage `bench`: latency of a file, alone or against a baseline, in a child process."""

import hashlib
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.child import in_child
from benchmark.subject import OpenSubject, open_subject
from benchmark.tiers import tier
from benchmark.worker import Job, Result
from dgprune.data import Purpose, load_images, open_data
from dgprune.data.images import Loading
from dgprune.data.preprocessing import Bytes
from dgprune.data.split import balanced
from dgprune.environment import current_environment
from dgprune.errors import MAX_SEED, DgpruneError, require_between
from dgprune.progress import SILENT, Progress
from dgprune.records import (
    Arm,
    BenchSpec,
    LatencyRecord,
    RuntimeSpec,
    append_records,
    open_records,
    read_records,
)
from dgprune.runtimes.opening import runtime_spec
from dgprune.schema import Json, digest, encode
from dgprune.source import split_for
from dgprune.stage import Done
from dgprune.statistics import Verdict, judge, median_latency_s, speedup_interval

BATCHES = 8
_EXIT = {Verdict.FASTER: 0, Verdict.EQUIVALENT: 0, Verdict.SLOWER: 1, Verdict.INCONCLUSIVE: 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencySpec:
    """What to time: artefact folders, batch sizes, and the data whose source images are fed in."""

    artefact: str
    data: str
    baseline: str | None = None
    runtime: str | None = None
    provider: str | None = None
    allow_fallback: bool = False
    batch_sizes: tuple[int, ...] = (1, 8, 32)
    tier: str = "default"
    threads: int = 1
    seed: int = 0
    skip_bad_images: bool = False

    def __post_init__(self) -> None:
        if not self.batch_sizes:
            raise DgpruneError("--batch takes numbers of 1 or more, such as 1,8,32")
        for size in self.batch_sizes:
            require_between("--batch", size, 1, 4096)
        require_between("--seed", self.seed, 0, MAX_SEED)
        cores = len(os.sched_getaffinity(0))
        if not 1 <= self.threads <= cores:
            raise DgpruneError(f"--threads {self.threads}: this process may use 1 to {cores} cores")


def batch_sizes(text: str) -> tuple[int, ...]:
    """Batch sizes from `1,8,32`; raises DgpruneError where that is not a list of numbers."""
    try:
        return tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        raise DgpruneError(f"--batch {text!r} is not a list of numbers such as 1,8,32") from None


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One thing to time: a candidate, and a baseline where there is one."""

    candidate: OpenSubject
    baseline: OpenSubject | None
    runtime: RuntimeSpec
    spec: BenchSpec
    batch_size: int

    def digest(self) -> str:
        """What names the cell in a records file."""
        return digest(
            {
                "bench": self.candidate.subject.sha256,
                "baseline": self.baseline.subject.sha256 if self.baseline else None,
                "runtime": encode(self.runtime),
                "spec": encode(self.spec),
                "batch_size": self.batch_size,
                "environment": encode(current_environment()),
            }
        )

    def name(self) -> str:
        """The cell for a person."""
        against = f" against {self.baseline.subject.label}" if self.baseline else ""
        return f"{self.candidate.subject.label}{against}, batch {self.batch_size}"


def bench(spec: LatencySpec, records: Path, progress: Progress = SILENT) -> Done:
    """Appends a latency record a batch size to `records`.

    The exit code is that of the worst verdict. Raises DgpruneError where the arms differ in more
    than the network, or a child process fails.
    """
    cells = cells_of(spec)
    there = {entry.cell for entry in open_records(records)}
    missing = [cell for cell in cells if cell.digest() not in there]
    random.Random(spec.seed).shuffle(missing)  # so that drift does not follow the batch size
    if not missing:
        progress.line(f"already done: latency of {cells[0].candidate.subject.label} in {records}")
    pixels = pixels_of(spec, cells[0], progress) if missing else None
    for cell in progress.track(missing, len(missing), "timing"):
        assert pixels is not None
        record = _measure(cell, pixels)
        append_records(records, cell.digest(), [record])
        progress.line(describe(record))
    found = _records_of(cells, records)
    code = max((_EXIT[judge(r)] for r in found if r.baseline), default=0)
    return Done(path=records, fresh=bool(missing), summary=_summary(found), exit_code=code)


def cells_of(spec: LatencySpec) -> list[Cell]:
    """A cell a batch size; raises DgpruneError where the arms may not be compared."""
    candidate = open_subject(Path(spec.artefact))
    baseline = open_subject(Path(spec.baseline)) if spec.baseline else None
    if baseline is not None:
        require_comparable(candidate, baseline)
    runtime = runtime_spec(
        candidate.subject.format,
        spec.runtime,
        spec.provider,
        spec.threads,
        allow_fallback=spec.allow_fallback,
    )
    for size in spec.batch_sizes:
        if candidate.form.batch not in (None, size):
            raise DgpruneError(
                f"{candidate.file} was exported for batch {candidate.form.batch}, not {size}"
            )
    return [
        Cell(
            candidate=candidate,
            baseline=baseline,
            runtime=runtime,
            spec=tier(spec.tier, _order_seed(spec.seed, size, candidate, baseline)),
            batch_size=size,
        )
        for size in spec.batch_sizes
    ]


def _order_seed(
    seed: int, batch_size: int, candidate: OpenSubject, baseline: OpenSubject | None
) -> int:
    """Draws which arm starts: another draw for every pair and batch size."""
    other = baseline.subject.sha256 if baseline else ""
    return int(digest([seed, batch_size, candidate.subject.sha256, other])[:8], 16)


def require_comparable(candidate: OpenSubject, baseline: OpenSubject) -> None:
    """Raises DgpruneError where the arms differ in more than the network."""
    a, b = candidate.subject, baseline.subject
    parts = {
        "format": (a.format, b.format),
        "precision": (a.precision, b.precision),
        "batch": (candidate.form.batch, baseline.form.batch),
        "preprocessing inside": (candidate.form.dtype, baseline.form.dtype),
        "input": (a.origin.preprocessing, b.origin.preprocessing),
        "classes": (a.origin.classes, b.origin.classes),
        "opset": (a.lineage[-1].spec.get("opset"), b.lineage[-1].spec.get("opset")),
    }
    for name, (mine, theirs) in parts.items():
        if mine != theirs:
            raise DgpruneError(
                f"the arms differ in {name} ({mine} against {theirs}); "
                "the speedup of pruning needs arms that differ in the network only"
            )


def pixels_of(spec: LatencySpec, cell: Cell, progress: Progress) -> Bytes:
    """Real source-validation images, repeated where the data has too few for eight batches."""
    origin = cell.candidate.subject.origin
    data = open_data(spec.data)
    split = split_for(data, origin.target, origin)
    needed = BATCHES * max(spec.batch_sizes)
    loading = Loading(target=origin.target, skip_bad_images=spec.skip_bad_images, progress=progress)
    images = load_images(
        data,
        balanced(split.validation, needed, seed=spec.seed),
        origin.preprocessing,
        purpose=Purpose.TIME,
        loading=loading,
    )
    return images.pixels[np.arange(needed) % len(images)]


def _measure(cell: Cell, pixels: Bytes) -> LatencyRecord:
    used = np.ascontiguousarray(pixels[: BATCHES * cell.batch_size])
    load = os.getloadavg()[0]
    found = in_child("benchmark.worker", job_of(cell), used, Result, cell.name())
    return LatencyRecord(
        subject=cell.candidate.subject,
        baseline=cell.baseline.subject if cell.baseline else None,
        runtime=cell.runtime,
        spec=cell.spec,
        batch_size=cell.batch_size,
        batches=BATCHES,
        inputs_sha256=hashlib.sha256(used.tobytes()).hexdigest(),
        stationary=found.measurement.stationary,
        load_average=load,
        blocks=found.measurement.blocks,
        environment=current_environment(),
        proof=found.proofs["candidate"],
        baseline_proof=found.proofs.get("baseline"),
    )


def job_of(cell: Cell) -> Job:
    """What the process is told that measures `cell`."""
    arms: dict[Arm, str] = {}
    if cell.baseline is not None:
        arms["baseline"] = str(cell.baseline.folder.resolve())
    arms["candidate"] = str(cell.candidate.folder.resolve())
    return Job(
        arms=arms,
        runtime=cell.runtime,
        spec=cell.spec,
        batch_size=cell.batch_size,
        batches=BATCHES,
    )


def _records_of(cells: Sequence[Cell], records: Path) -> list[LatencyRecord]:
    wanted = {cell.digest() for cell in cells}
    return [
        entry.record
        for entry in read_records(records)
        if entry.cell in wanted and isinstance(entry.record, LatencyRecord)
    ]


def describe(record: LatencyRecord) -> str:
    """One line for a person: latency, and the speedup with its interval."""
    latency_ms = median_latency_s(record) * 1e3
    text = f"{record.subject.label}, batch {record.batch_size}: {latency_ms:.3f} ms"
    if record.baseline is None:
        return text
    interval = speedup_interval(record.blocks)
    return (
        f"{text}, {interval.estimate:.2f}x as fast as {record.baseline.label} "
        f"[{interval.low:.2f}, {interval.high:.2f}] ({judge(record).value})"
    )


def _summary(records: list[LatencyRecord]) -> Json:
    return {"cells": [describe(record) for record in records]}
