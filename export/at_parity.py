"""Files that compute what PyTorch does: written, compared, and again where int8 costs too much."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dgprune.artefact import SCHEMA, Artefact, OpenArtefact, Parity, identity
from dgprune.environment import installed_libraries, threads_here
from dgprune.errors import DgpruneError
from dgprune.lineage import LineageStep
from dgprune.records import RuntimeSpec
from dgprune.runtimes import Inputs
from dgprune.runtimes.opening import open_runtime, runtime_spec
from dgprune.schema import file_sha256
from export.first_difference import first_difference
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
from export.quantised import in_int8
from export.sensitivity import most_sensitive
from export.source_images import SourceImages
from export.spec import ExportSpec
from export.write import Prepared, Written, write_files

_BATCH = 32
_UNCHECKED = Parity(images=0, max_abs_logit_difference=0, min_cosine=0, top1_agreements=0)


def written_at_parity(
    folder: Path, prepared: Prepared, images: SourceImages, step: LineageStep
) -> Artefact:
    """The files in `folder`, and their sidecar with parity.

    Of int8 1, 2, 4, ... layers stay fp32, the most sensitive first, until parity holds; at most
    half of them. Raises DgpruneError, naming the first node that differs, where it never does.
    """
    everything = _attempt(folder, prepared, images, step)
    if not isinstance(everything, _Missed):
        return everything
    missed = everything
    if prepared.spec.precision == "int8":
        graph = prepared.traced.model
        ranked = most_sensitive(graph, in_int8(graph, prepared.batches), prepared.batches)
        count = 1
        while count <= len(ranked) // 2:
            images.progress.line(f"{missed.error.reason}: fp32 for the {count} most sensitive")
            attempt = _attempt(folder, prepared, images, step, ranked[:count])
            if not isinstance(attempt, _Missed):
                return attempt
            missed, count = attempt, 2 * count
    place = _first_node(missed, prepared)
    told = f"; the first node that differs: {place}" if place else ""
    raise DgpruneError(
        f"{missed.written.file.name} does not compute what PyTorch does: "
        f"{missed.error.reason}{told}"
    ) from missed.error


@dataclass(frozen=True, kw_only=True)
class _Missed:
    """A written file that is not at parity, and the batch where it shows most."""

    written: Written
    error: ParityError
    batch: Inputs


def _attempt(
    folder: Path,
    prepared: Prepared,
    images: SourceImages,
    step: LineageStep,
    keep: Sequence[str] = (),
) -> Artefact | _Missed:
    """One file with the layers `keep` in fp32, and its sidecar if it is at parity.

    What is checked here is the file, so another precision may run than the file asks for: whether
    a device really runs it is for `evaluate` and `bench` to prove.
    """
    spec = prepared.spec
    written = write_files(folder, prepared, images.progress, keep)
    sidecar = _sidecar(written, prepared, step)
    real = images.for_parity()
    inputs = images.inputs(real)
    size = min(_BATCH, spec.largest_batch) if spec.batch == "dynamic" else int(spec.batch)
    if spec.batch != "dynamic":
        inputs = inputs[: len(inputs) // size * size]
    if not len(inputs):
        raise DgpruneError(
            f"--batch {spec.batch}: {len(real)} images of parity could be read; "
            "raise --parity-images, or lower --batch"
        )
    runtime = _checking_runtime(spec)
    expected = reference_outputs(prepared.reference, inputs, size)
    with open_runtime(OpenArtefact(artefact=sidecar, file=written.file), runtime) as loaded:
        found = outputs_of(loaded, inputs, size)
        executed = loaded.proof().precisions
    allowed = (PROBABILITY_LADDER if spec.with_preprocessing else LADDER)[spec.precision]
    where = f"{runtime.name} {runtime.provider}"
    try:
        parity = compare(expected, found, real, allowed, where)
    except ParityError as error:
        start = error.worst // size * size
        return _Missed(written=written, error=error, batch=inputs[start : start + size])
    return replace(sidecar, parity=replace(parity, executed=executed))


def _sidecar(written: Written, prepared: Prepared, step: LineageStep) -> Artefact:
    """All that is known of the files before parity is checked."""
    spec, meta = prepared.spec, prepared.checkpoint.meta
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
        structure=prepared.checkpoint.structure,
        origin=meta.origin,
        lineage=(*meta.lineage, step),
        parity=_UNCHECKED,
        tools=installed_libraries(),
        files=files,
        layers=written.layers,
        kept_fp32=written.kept_fp32,
        calibration=prepared.calibration,
        with_preprocessing=spec.with_preprocessing,
        built_with=written.built_with,
        node_kinds=written.node_kinds,
    )


def _first_node(missed: _Missed, prepared: Prepared) -> str:
    """Where the written file begins to differ; empty for an engine, which is sealed."""
    spec = prepared.spec
    if spec.format == "tensorrt":
        return ""
    bfloat16 = spec.precision == "bf16"
    on_openvino = spec.format == "openvino" or bfloat16
    inside = (
        OpenVinoGraph(missed.written.file, bfloat16=bfloat16)
        if on_openvino
        else OrtGraph(missed.written.graph)
    )
    return first_difference(inside, prepared.traced.program, missed.batch, spec.precision)


def _checking_runtime(spec: ExportSpec) -> RuntimeSpec:
    """What executes the file here: ONNX Runtime has no bf16 on a CPU, OpenVINO does."""
    name = "openvino" if (spec.format, spec.precision) == ("onnx", "bf16") else None
    return runtime_spec(spec.format, name, None, threads_here(), allow_fallback=True)
