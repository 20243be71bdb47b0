"""The ONNX graph of a model: exported, cleaned of machine paths, checked."""

import contextlib
import io
import logging
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import onnx
import torch
from torch import Tensor, nn

from dgprune.errors import DgpruneError

INPUT, OUTPUT, PROBABILITIES = "images", "logits", "probabilities"
_TYPES = {
    onnx.TensorProto.FLOAT: "fp32",
    onnx.TensorProto.FLOAT16: "fp16",
    onnx.TensorProto.BFLOAT16: "bf16",
    onnx.TensorProto.INT8: "int8",
}


@dataclass(frozen=True, kw_only=True)
class OnnxGraph:
    """A checked graph, and the traced program it was written from, for comparing node by node."""

    model: onnx.ModelProto
    program: torch.export.ExportedProgram


def onnx_graph(
    module: nn.Module, example: Tensor, *, dynamic: bool, opset: int, output: str = OUTPUT
) -> OnnxGraph:
    """The graph of `module` for inputs like `example` [batch, ...]; `dynamic` frees the batch.

    A free batch needs an example of two or more: one would be baked in.
    """
    free = {0: torch.export.Dim("batch")} if dynamic else None
    with _quiet():
        written = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            opset_version=opset,
            input_names=[INPUT],
            output_names=[output],
            dynamic_shapes=(free,) if free else None,
            verbose=False,
        )
    if written is None or written.exported_program is None:
        raise DgpruneError(
            "PyTorch's exporter returned no graph; check torch and onnxscript in `doctor`"
        )
    graph: onnx.ModelProto = written.model_proto
    _forget_this_machine(graph)
    require_opset(graph, opset)
    return OnnxGraph(model=graph, program=written.exported_program)


def finish_graph(graph: onnx.ModelProto, metadata: dict[str, str]) -> None:
    """Stores `metadata` in the graph, so that the file is usable alone, and checks the whole."""
    for key, value in sorted(metadata.items()):
        graph.metadata_props.add(key=key, value=value)
    try:
        onnx.checker.check_model(graph, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DgpruneError(f"the exported graph is not valid ONNX: {reason}") from error


def require_opset(graph: onnx.ModelProto, opset: int) -> None:
    """Raises DgpruneError where the exporter chose another opset than was asked for."""
    found = {entry.domain: entry.version for entry in graph.opset_import}
    if found.get("", 0) != opset:
        raise DgpruneError(f"the exporter wrote opset {found.get('')}, asked was {opset}")


def require_weights(graph: onnx.ModelProto, expected: int, folded: int = 0, zeros: int = 0) -> None:
    """Raises DgpruneError where the graph does not use the `expected` number of weights.

    Weights are counted where they are used, for equal ones are stored once (in bf16 many norms are
    still all ones). Scales and zero points of a quantised graph do not count; its biases are int32.
    Up to `folded` constants more may be there: a fixed batch repeats the class token once an image.
    Up to `zeros` may be missing: the exporter leaves out a bias that adds nothing.
    """
    sizes = {
        tensor.name: int(torch.Size(tensor.dims).numel())
        for tensor in graph.graph.initializer
        if tensor.data_type in (*_TYPES, onnx.TensorProto.INT32)
        and not tensor.name.endswith(("_scale", "_zero_point"))
    }
    found = sum(sizes.get(name, 0) for node in graph.graph.node for name in node.input)
    if not expected - zeros <= found <= expected * 1.01 + 64 + folded:
        raise DgpruneError(
            f"the graph holds {found} weights, the pruned model {expected}: not exported whole"
        )


def layers_of(graph: onnx.ModelProto) -> dict[str, int]:
    """Convolutions and matrix products by the precision of what they multiply."""
    types = {tensor.name: _TYPES.get(tensor.data_type, "") for tensor in graph.graph.initializer}
    inferred = onnx.shape_inference.infer_shapes(graph)
    for value in inferred.graph.value_info:
        types.setdefault(value.name, _TYPES.get(value.type.tensor_type.elem_type, ""))
    for value in (*graph.graph.input, *graph.graph.output):
        types.setdefault(value.name, _TYPES.get(value.type.tensor_type.elem_type, ""))
    quantised = {node.output[0] for node in graph.graph.node if node.op_type == "DequantizeLinear"}
    found: Counter[str] = Counter()
    for node in graph.graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            both = set(node.input[:2]) <= quantised
            found["int8" if both else types.get(node.input[0], "")] += 1
    return dict(found)


def _forget_this_machine(graph: onnx.ModelProto) -> None:
    """Removes stack traces and node comments: they hold paths of the exporting machine."""
    for node in graph.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in [*graph.graph.input, *graph.graph.output, *graph.graph.value_info]:
        del value.metadata_props[:]
        value.doc_string = ""
    for tensor in graph.graph.initializer:
        del tensor.metadata_props[:]
        tensor.doc_string = ""
    del graph.graph.metadata_props[:]
    del graph.metadata_props[:]
    del graph.functions[:]
    graph.graph.doc_string = ""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Mutes the exporter's progress and its warnings of its own internals."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
