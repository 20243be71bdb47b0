"""The stage `profile`: where the time goes, node by node, of a file or of two."""

import hashlib
from pathlib import Path

from benchmark.cells import Cell, LatencySpec, cells_of
from benchmark.child import in_child
from benchmark.latency import batches_of, pixels_of
from benchmark.profile_worker import CALLS, WARM_UP, ProfileResult
from benchmark.subject import OpenSubject
from dgprune.artefact import OpenArtefact
from dgprune.data.preprocessing import Bytes
from dgprune.environment import current_environment
from dgprune.errors import DgpruneError
from dgprune.kind_table import KindRow, cells, header, kind_rows
from dgprune.progress import SILENT, Progress
from dgprune.records import ProfileRecord, append_records, open_records
from dgprune.schema import Json, digest, encode
from dgprune.stage import Done
from dgprune.table import print_table


def profile(spec: LatencySpec, records: Path, progress: Progress = SILENT) -> Done:
    """Appends a profile record to `records`; the summary holds its sums by kind.

    `spec` has one batch size. Raises DgpruneError where the runtime does not tell node times, or
    the arms differ in more than the network.
    """
    (cell,) = cells_of(spec)
    _require_node_times(cell)
    key = digest({"profile": cell.digest(), "calls": [WARM_UP, CALLS]})
    for entry in open_records(records):
        if entry.cell == key and isinstance(entry.record, ProfileRecord):
            progress.line(f"already done: profile of {cell.name()} in {records}")
            return Done(path=records, fresh=False, summary=_summary(entry.record))
    progress.line(f"profiling {cell.name()} on {cell.runtime.name}")
    record = _measure(cell, batches_of(pixels_of(spec, cell, progress), cell.batch_size))
    append_records(records, key, [record])
    return Done(path=records, fresh=True, summary=_summary(record))


def _require_node_times(cell: Cell) -> None:
    for subject in filter(None, (cell.candidate, cell.baseline)):
        _require_artefact(subject)
    runtime = cell.runtime
    if runtime.name == "onnxruntime" and runtime.provider != "cpu":
        raise DgpruneError(
            f"on --provider {runtime.provider} ONNX Runtime times launches, not kernels; "
            "export with --format tensorrt and profile that, or use --provider cpu"
        )


def _require_artefact(subject: OpenSubject) -> None:
    if not isinstance(subject.opened, OpenArtefact):
        raise DgpruneError(
            f"{subject.folder} is a checkpoint, and PyTorch is not profiled node by node; "
            "export it with dgprune export and profile the artefact"
        )


def _measure(cell: Cell, pixels: Bytes) -> ProfileRecord:
    name = f"the nodes of {cell.name()}"
    found = in_child("benchmark.profile_worker", cell.job(0), pixels, ProfileResult, name)
    return ProfileRecord(
        subject=cell.candidate.subject,
        baseline=cell.baseline.subject if cell.baseline else None,
        runtime=cell.runtime,
        batch_size=cell.batch_size,
        calls=CALLS,
        inputs_sha256=hashlib.sha256(pixels.tobytes()).hexdigest(),
        nodes=found.nodes["candidate"],
        baseline_nodes=found.nodes.get("baseline", ()),
        environment=current_environment(),
        proof=found.proofs["candidate"],
        baseline_proof=found.proofs.get("baseline"),
    )


def _summary(record: ProfileRecord) -> Json:
    """Seconds a call by kind, and their sum in the last row."""
    return {
        "candidate": record.subject.label,
        "baseline": record.baseline.label if record.baseline else None,
        "batch_size": record.batch_size,
        "kinds": [encode(row) for row in kind_rows(record)],
    }


def show(summary: Json) -> None:
    """Prints the summary of a profile as a table on stderr."""
    candidate, baseline = summary["candidate"], summary["baseline"]
    against = f" against {baseline}" if baseline else ""
    print_table(
        f"where the time of {candidate}{against} goes, batch {summary['batch_size']}",
        header(candidate, baseline),
        [cells(KindRow(**row)) for row in summary["kinds"]],
    )
