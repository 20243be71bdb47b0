"""Writing the files of an artefact, in every format and precision."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import onnx
import torch
from torch import nn

from dgprune.artefact import Calibration
from dgprune.checkpoint import Checkpoint, load_model
from dgprune.errors import DgpruneError
from dgprune.node_kinds import Kind, kinds_of_nodes, nodes_of_onnx
from dgprune.progress import Progress
from dgprune.runtimes import Inputs
from dgprune.schema import canonical_json
from dgprune.structure import cost_of
from export.half_precision import in_fp16
from export.onnx_graph import (
    OUTPUT,
    PROBABILITIES,
    OnnxGraph,
    finish_graph,
    layers_of,
    onnx_graph,
    require_weights,
)
from export.openvino_model import layers_of_openvino, write_openvino
from export.quantised import in_int8
from export.shipped_model import shipped_model
from export.source_images import SourceImages
from export.spec import ExportSpec

_SUFFIX = {"onnx": "onnx", "openvino": "xml", "tensorrt": "plan"}
_LARGEST_MESSAGE = 2_000_000_000  # bytes; protobuf ends at 2 GiB


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What every attempt at a file starts from: the fp32 module, its trace, and ranges' images."""

    checkpoint: Checkpoint
    spec: ExportSpec
    reference: nn.Module
    traced: OnnxGraph
    batches: list[Inputs]
    calibration: Calibration | None


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was written: the main file, all files, and what is known of them.

    `graph` serves to find where it begins to differ from the traced program.
    """

    file: Path
    files: list[Path]
    layers: dict[str, int]
    graph: onnx.ModelProto
    kept_fp32: tuple[str, ...] = ()
    built_with: dict[str, str] = field(default_factory=dict)
    node_kinds: dict[str, Kind] = field(default_factory=dict)


def prepare(checkpoint: Checkpoint, spec: ExportSpec, images: SourceImages) -> Prepared:
    """Traces the checkpoint and loads the images that ranges are measured on."""
    parameters = cost_of(checkpoint.structure).parameters
    if 4 * parameters > _LARGEST_MESSAGE:
        raise DgpruneError(
            f"{checkpoint.meta.label} has {parameters / 1e6:.0f} M weights, more than the 2 GB "
            "that an ONNX file holds; prune it further"
        )
    reference, traced = _trace(checkpoint, spec)
    batches, calibration = images.for_calibration() if spec.needs_calibration else ([], None)
    return Prepared(
        checkpoint=checkpoint,
        spec=spec,
        reference=reference,
        traced=traced,
        batches=batches,
        calibration=calibration,
    )


def write_files(
    folder: Path, prepared: Prepared, progress: Progress, keep: Sequence[str] = ()
) -> Written:
    """Writes the file or files of the spec into `folder`; of int8, the layers `keep` stay fp32."""
    spec, structure = prepared.spec, prepared.checkpoint.structure
    graph, kept = _in_precision(prepared, keep)
    metadata = _metadata(prepared.checkpoint)
    finish_graph(graph, metadata)
    folded = 0 if spec.batch == "dynamic" else int(spec.batch) * structure.prefix_tokens
    zeros = sum(p.numel() for p in prepared.reference.parameters() if p.ndim == 1 and not p.any())
    require_weights(graph, cost_of(structure).parameters, folded * structure.embed_dim, zeros)
    file = folder / f"model.{spec.precision}.{_SUFFIX[spec.format]}"
    files, layers, built_with, node_kinds = [file], layers_of(graph), {}, {}
    if spec.format == "onnx":
        file.write_bytes(graph.SerializeToString(deterministic=True))
    elif spec.format == "openvino":
        write_openvino(graph, file, spec.precision, prepared.batches, metadata, keep)
        files.append(file.with_suffix(".bin"))
        layers = layers_of_openvino(file, spec.precision)
    else:
        from export.tensorrt_engine import build_engine

        built_with = build_engine(graph, file, spec, progress)
        node_kinds = kinds_of_nodes(nodes_of_onnx(graph.graph))
    return Written(
        file=file,
        files=files,
        layers=layers,
        graph=graph,
        kept_fp32=tuple(kept),
        built_with=built_with,
        node_kinds=node_kinds,
    )


def _trace(checkpoint: Checkpoint, spec: ExportSpec) -> tuple[nn.Module, OnnxGraph]:
    """The fp32 module, and the graph in the type that it is exported in: bf16 or fp32."""
    preprocessing = checkpoint.meta.origin.preprocessing if spec.with_preprocessing else None
    reference = shipped_model(load_model(checkpoint), preprocessing=preprocessing)
    bfloat16 = spec.precision == "bf16" and spec.format != "openvino"
    module = reference
    if bfloat16:
        module = shipped_model(load_model(checkpoint), bfloat16=True, preprocessing=preprocessing)
    size = checkpoint.structure.image_size
    count = 2 if spec.batch == "dynamic" else int(spec.batch)
    example = torch.zeros(count, 3, size, size)
    if spec.with_preprocessing:
        example = torch.zeros(count, size, size, 3, dtype=torch.uint8)
    output = PROBABILITIES if spec.with_preprocessing else OUTPUT
    traced = onnx_graph(
        module, example, dynamic=spec.batch == "dynamic", opset=spec.opset, output=output
    )
    return reference, traced


def _in_precision(prepared: Prepared, keep: Sequence[str]) -> tuple[onnx.ModelProto, Sequence[str]]:
    """A graph of its own in the precision that the file has, and the nodes that stay fp32.

    OpenVINO lowers precision itself, so it gets the fp32 graph.
    """
    spec, model = prepared.spec, prepared.traced.model
    if spec.precision == "fp16" and spec.format != "openvino":
        return in_fp16(model, prepared.batches)
    if spec.precision == "int8" and spec.format != "openvino":
        return in_int8(model, prepared.batches, keep), keep
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy, keep


def _metadata(checkpoint: Checkpoint) -> dict[str, str]:
    origin = checkpoint.meta.origin
    return {
        "dgprune.checkpoint": checkpoint.meta.digest,
        "dgprune.classes": canonical_json(list(origin.classes)),
        "dgprune.preprocessing": canonical_json(origin.preprocessing),
    }
