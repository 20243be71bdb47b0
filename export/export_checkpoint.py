"""The stage `export`: from a checkpoint to an artefact folder, its parity checked."""

import os
from dataclasses import replace
from pathlib import Path

from dgprune.artefact import (
    SCHEMA,
    SIDECAR,
    Artefact,
    OpenArtefact,
    Parity,
    identity,
    open_artefact,
)
from dgprune.checkpoint import CheckpointMeta, open_checkpoint
from dgprune.data import open_data
from dgprune.environment import installed_libraries
from dgprune.errors import DgpruneError
from dgprune.lineage import LineageStep, next_step
from dgprune.progress import SILENT, Progress
from dgprune.records import RuntimeSpec
from dgprune.runtimes import Inputs
from dgprune.runtimes.opening import open_runtime, runtime_spec
from dgprune.runtimes.tensorrt import load_tensorrt
from dgprune.schema import Json, canonical_json, encode, file_sha256, seal
from dgprune.source import split_for
from dgprune.stage import Done, run_stage
from dgprune.store import store_at
from dgprune.structure import Structure
from export.first_difference import first_difference
from export.folder_readme import folder_readme
from export.inside import OpenVinoGraph, OrtGraph
from export.onnx_graph import INPUT, OUTPUT, PROBABILITIES
from export.parity import (
    LADDER,
    PROBABILITY_LADDER,
    ParityError,
    compare,
    outputs_of,
    reference_outputs,
)
from export.source_images import SourceImages
from export.spec import ExportSpec
from export.write import Written, write_artefact

README = "README.md"
_BATCH = 32
_UNCHECKED = Parity(images=0, max_abs_logit_difference=0, min_cosine=0, top1_agreements=0)


def export(spec: ExportSpec, out: Path, progress: Progress = SILENT) -> Done:
    """An artefact folder under `out`: the file, its sidecar, and a README that runs it."""
    checkpoint = open_checkpoint(Path(spec.checkpoint))
    meta = checkpoint.meta
    data = open_data(spec.data)
    split = split_for(data, meta.origin.target, meta.origin)
    asked = spec.asked()
    if spec.format == "tensorrt":  # an engine is of one version and one device
        asked["built_with"] = load_tensorrt("--format tensorrt")[1]
    step = next_step(meta.lineage, "export", asked, meta.origin)
    images = SourceImages(spec=spec, data=data, split=split, origin=meta.origin, progress=progress)
    images.require_enough()

    def build(folder: Path) -> None:
        progress.line(
            f"exporting {meta.label} to {spec.format} {spec.precision}, batch {spec.batch}"
        )
        written = write_artefact(folder, checkpoint, spec, images)
        sidecar = _sidecar(written, spec, meta, checkpoint.structure, step)
        parity = _check(sidecar, written, spec, images)
        checked = replace(sidecar, parity=parity)
        (folder / README).write_text(folder_readme(checked))
        (folder / SIDECAR).write_text(canonical_json(seal(encode(checked))) + "\n")
        progress.line(_parity_line(parity))

    with store_at(out) as store:
        name = f"artefact-{meta.label}-{spec.format}-{spec.precision}-{step.digest[:12]}"
        done = run_stage(store / name, open_artefact, build, progress)
    return replace(done, summary=_summary(open_artefact(done.path).artefact))


def export_onnx(
    checkpoint: Path, spec: ExportSpec, out: Path, progress: Progress = SILENT
) -> OpenArtefact:
    """The ONNX artefact of the checkpoint in folder `checkpoint`, opened."""
    asked = replace(spec, checkpoint=str(checkpoint), format="onnx")
    return open_artefact(export(asked, out, progress).path)


def _sidecar(
    written: Written,
    spec: ExportSpec,
    meta: CheckpointMeta,
    structure: Structure,
    step: LineageStep,
) -> Artefact:
    """All that is known of the files before parity is checked."""
    files = {file.name: file_sha256(file) for file in written.files}
    return Artefact(
        schema=SCHEMA,
        label=meta.label,
        digest=step.digest,
        file=written.file.name,
        sha256=identity(files),
        size_bytes=sum(file.stat().st_size for file in written.files),
        format=spec.format,
        precision=spec.precision,
        opset=spec.opset,
        input_name=INPUT,
        output_name=PROBABILITIES if spec.with_preprocessing else OUTPUT,
        batch=spec.batch,
        structure=structure,
        origin=meta.origin,
        lineage=(*meta.lineage, step),
        parity=_UNCHECKED,
        tools=installed_libraries(),
        files=files,
        layers=written.layers,
        kept_fp32=written.kept_fp32,
        calibration=written.calibration,
        with_preprocessing=spec.with_preprocessing,
        built_with=written.built_with,
    )


def _check(sidecar: Artefact, written: Written, spec: ExportSpec, images: SourceImages) -> Parity:
    """Parity of the written file; raises DgpruneError, naming the first node, where it fails.

    What is checked here is the file, so another precision may run than the file asks for: whether
    a device really runs it is for `evaluate` and `bench` to prove.
    """
    real = images.for_parity()
    inputs = images.inputs(real)
    size = min(_BATCH, spec.largest_batch) if spec.batch == "dynamic" else int(spec.batch)
    if spec.batch != "dynamic":
        inputs = inputs[: len(inputs) // size * size]
    runtime = _checking_runtime(spec)
    expected = reference_outputs(written.reference, inputs, size)
    opened = OpenArtefact(artefact=sidecar, file=written.file)
    with open_runtime(opened, runtime) as loaded:
        found = outputs_of(loaded, inputs, size)
        executed = loaded.proof().precisions
    try:
        allowed = (PROBABILITY_LADDER if spec.with_preprocessing else LADDER)[spec.precision]
        where = f"{runtime.name} {runtime.provider}"
        return replace(compare(expected, found, real, allowed, where), executed=executed)
    except ParityError as error:
        start = error.worst // size * size
        place = _first_node(written, spec, inputs[start : start + size])
        told = f"; the first node that differs: {place}" if place else ""
        raise DgpruneError(
            f"{written.file.name} does not compute what PyTorch does: {error.reason}{told}"
        ) from error


def _first_node(written: Written, spec: ExportSpec, batch: Inputs) -> str:
    """Where the written file begins to differ on `batch`; empty for an engine, which is sealed."""
    if spec.format == "tensorrt":
        return ""
    bfloat16 = spec.precision == "bf16"
    on_openvino = spec.format == "openvino" or bfloat16
    inside = (
        OpenVinoGraph(written.file, bfloat16=bfloat16) if on_openvino else OrtGraph(written.graph)
    )
    return first_difference(inside, written.traced.program, batch, spec.precision)


def _checking_runtime(spec: ExportSpec) -> RuntimeSpec:
    """What executes the file here: ONNX Runtime has no bf16 on a CPU, OpenVINO does."""
    name = "openvino" if (spec.format, spec.precision) == ("onnx", "bf16") else None
    threads = len(os.sched_getaffinity(0))
    return runtime_spec(spec.format, name, None, threads, allow_fallback=True)


def _parity_line(parity: Parity) -> str:
    return (
        f"parity on {parity.images} images: largest difference of an output "
        f"{parity.max_abs_logit_difference:.1e}, top-1 equal on {parity.top1_agreements}"
    )


def _summary(artefact: Artefact) -> Json:
    """What was written, for `--json`."""
    return {
        "label": artefact.label,
        "file": artefact.file,
        "sha256": artefact.sha256,
        "size_bytes": artefact.size_bytes,
        "format": artefact.format,
        "precision": artefact.precision,
        "parity": encode(artefact.parity),
    }
