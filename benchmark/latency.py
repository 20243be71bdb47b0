"""The stage `bench`: latency of a file, alone or against a baseline, in child processes."""

import hashlib
import os
import random
from collections.abc import Sequence
from math import gcd
from pathlib import Path

import numpy as np

from benchmark.cells import BATCHES, Cell, LatencySpec, cells_of
from benchmark.child import ProcessDiedError, in_child
from benchmark.claimable import require_claimable
from benchmark.replication import replicate
from benchmark.worker import Result
from dgprune.data import Purpose, load_images, open_data
from dgprune.data.images import Loading
from dgprune.data.preprocessing import Bytes
from dgprune.data.split import balanced
from dgprune.environment import current_environment
from dgprune.judgement import control_of, doubts, interval_of, is_short, judge, limits_of
from dgprune.progress import SILENT, Progress
from dgprune.proof import Proof
from dgprune.records import LatencyRecord, append_records, open_records, read_records
from dgprune.schema import Json
from dgprune.source import split_for
from dgprune.stage import Done
from dgprune.statistics import Interval, Verdict, median_latency_s
from dgprune.timing import Arm, ColdStart, Replica

_EXIT = {Verdict.SLOWER: 1, Verdict.INCONCLUSIVE: 3}  # the first that is there


def bench(spec: LatencySpec, records: Path, progress: Progress = SILENT) -> Done:
    """Appends a latency record a batch size to `records`, and the A/A controls they need.

    The exit code is 1 where a verdict is SLOWER, else 3 where one is INCONCLUSIVE, else 0. Raises
    DgpruneError where the arms differ in more than they may, or where a file cannot be executed as
    asked.
    """
    cells = cells_of(spec)
    there = open_records(records)
    require_claimable(cells, there)
    found = ((entry.cell, entry.record) for entry in there)
    whole = {cell: r for cell, r in found if isinstance(r, LatencyRecord) and not is_short(r)}
    measured = {cell for cell, record in whole.items() if record.cold or not spec.cold_start}
    wanted = _with_controls(cells)
    missing = [group for group in wanted if any(cell.digest() not in measured for cell in group)]
    random.Random(spec.seed).shuffle(missing)  # so that drift does not follow the batch size
    if not missing:
        progress.line(f"already done: latency of {cells[0].candidate.subject.label} in {records}")
        for cell in cells:
            progress.line(describe(*_found(cell, records)))
    pixels = pixels_of(spec, cells[0], progress) if missing else None
    for group in progress.track(missing, len(missing), "timing"):
        for cell in group:  # the control first: where it fails, there is no verdict
            if cell.digest() not in measured:
                assert pixels is not None
                append_records(records, cell.digest(), [_measure(cell, pixels)])
        progress.line(describe(*_found(group[-1], records)))
    results = [_found(cell, records) for cell in cells]
    told = {judge(r, control) for r, control in results if r.baseline or not r.replicas}
    return Done(
        path=records,
        fresh=bool(missing),
        summary=_summary(results),
        exit_code=next((code for verdict, code in _EXIT.items() if verdict in told), 0),
    )


def _with_controls(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Each cell behind its A/A control, where it has one and is none."""
    groups = []
    for cell in cells:
        control = [cell.control()] if cell.baseline else []
        groups.append([*(c for c in control if c.digest() != cell.digest()), cell])
    return groups


def pixels_of(spec: LatencySpec, cell: Cell, progress: Progress) -> Bytes:
    """Real source-validation images, as many as eight batches of the largest size take, or all."""
    origin = cell.candidate.subject.origin
    data = open_data(spec.data)
    split = split_for(data, origin.target, origin)
    needed = BATCHES * max(spec.batch_sizes)
    loading = Loading(split=split, skip_bad_images=spec.skip_bad_images, progress=progress)
    images = load_images(
        data,
        balanced(split.validation, needed, seed=spec.seed),
        origin.preprocessing,
        purpose=Purpose.TIME,
        loading=loading,
    )
    return images.pixels


def batches_of(pixels: Bytes, size: int) -> Bytes:
    """Eight batches [8 x size, px, px, 3] of pixels [images, px, px, 3], in turn.

    Where there are too few images each batch begins at a place of its own, as far as they have one:
    batches as large as all images would otherwise be one and the same.
    """
    images = len(pixels)
    wanted = min(BATCHES, images)
    step = next(s for s in range(size, size + images) if images // gcd(s, images) >= wanted)
    places = step * np.arange(BATCHES)[:, None] + np.arange(size)
    return np.ascontiguousarray(pixels[places.ravel() % images])


def _measure(cell: Cell, pixels: Bytes) -> LatencyRecord:
    """The record of one cell: its processes, and the cold start of each arm."""
    used = batches_of(pixels, cell.batch_size)
    replicas, proofs, failures = _replicas(cell, used)
    cold: dict[Arm, ColdStart] = {}
    for arm in cell.job(0).arms if cell.cold_start else ():
        try:
            name = f"cold start of the {arm}"
            cold[arm] = in_child("benchmark.cold", cell.cold_job(arm), used, ColdStart, name)
        except ProcessDiedError as error:
            failures.append(str(error))
    return LatencyRecord(
        subject=cell.candidate.subject,
        baseline=cell.baseline.subject if cell.baseline else None,
        runtime=cell.runtime,
        spec=cell.spec,
        batch_size=cell.batch_size,
        batches=BATCHES,
        inputs_sha256=hashlib.sha256(used.tobytes()).hexdigest(),
        replicas=tuple(replicas),
        environment=current_environment(),
        varies=cell.varies,
        baseline_runtime=cell.baseline_runtime,
        builds={
            arm: tuple(build.subject.sha256 for build in builds)
            for arm, builds in cell.builds.items()
        },
        cold=cold,
        failures=tuple(failures),
        proof=proofs.get("candidate"),
        baseline_proof=proofs.get("baseline"),
    )


def _replicas(cell: Cell, pixels: Bytes) -> tuple[list[Replica], dict[Arm, Proof], list[str]]:
    """What the cell's processes measured, what they proved, and which of them died of what."""
    proofs: dict[Arm, Proof] = {}

    def run(number: int) -> Replica:
        load = os.getloadavg()[0]
        name = f"process {number + 1} of {cell.name()}"
        found = in_child("benchmark.worker", cell.job(number), pixels, Result, name)
        proofs.update(found.proofs)
        return Replica(
            build=cell.build(number),
            stationary=found.measurement.stationary,
            load_average=load,
            blocks=found.measurement.blocks,
            void=found.measurement.void,
            device=found.device,
        )

    replicas, failures = replicate(run, cell.spec)
    return replicas, proofs, failures


def _found(cell: Cell, records: Path) -> tuple[LatencyRecord, LatencyRecord | None]:
    """The newest record of a cell, and its control."""
    wanted = cell.digest()
    there = [e for e in read_records(records) if isinstance(e.record, LatencyRecord)]
    latency = {entry.id: entry.record for entry in there if isinstance(entry.record, LatencyRecord)}
    record = latency[next(entry.id for entry in reversed(there) if entry.cell == wanted)]
    return record, control_of(record, list(latency.values()))


def describe(record: LatencyRecord, control: LatencyRecord | None = None) -> str:
    """One line for a person: latency, the speedup with its interval, and every doubt."""
    name = f"{record.subject.label}, batch {record.batch_size}"
    if not record.replicas:
        return f"{name}: not measured: {'; '.join(record.failures)}"
    text = f"{name}: {median_latency_s(record) * 1e3:.3f} ms"
    interval = interval_of(record) if record.baseline else None
    if interval is None or record.baseline is None:
        return text
    told = "".join(f"; {doubt}" for doubt in doubts(record, control))
    return (
        f"{text}, {interval.estimate:.2f}x as fast as {_baseline_name(record)} "
        f"{_limits(interval)} ({judge(record, control).value}{told})"
    )


def _limits(interval: Interval) -> str:
    low, high = ("-" if limit is None else f"{limit:.2f}" for limit in limits_of(interval))
    return f"[{low}, {high}]"


def _baseline_name(record: LatencyRecord) -> str:
    """The baseline, and what it differs in where that is not the network."""
    assert record.baseline is not None
    if record.varies == "precision":
        return f"{record.baseline.label} in {record.baseline.precision}"
    if record.baseline_runtime is not None:
        return f"{record.baseline.label} on {record.baseline_runtime.name}"
    return record.baseline.label


def _summary(found: Sequence[tuple[LatencyRecord, LatencyRecord | None]]) -> Json:
    return {"cells": [_numbers(record, control) for record, control in found]}


def _numbers(record: LatencyRecord, control: LatencyRecord | None) -> Json:
    """What `describe` says, for another program: seconds, the speedup, verdict and doubts."""
    told: Json = {
        "label": record.subject.label,
        "sha256": record.subject.sha256,
        "batch_size": record.batch_size,
        "median_s": median_latency_s(record) if record.replicas else None,
        "text": describe(record, control),
    }
    interval = interval_of(record) if record.baseline and record.replicas else None
    if interval is None:
        return told
    low, high = limits_of(interval)
    return told | {
        "speedup": {"low": low, "estimate": interval.estimate, "high": high},
        "verdict": judge(record, control).value,
        "doubts": doubts(record, control),
    }
