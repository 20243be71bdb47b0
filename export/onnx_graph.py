"""The ONNX graph of a model: exported, cleaned of machine paths, checked."""

import contextlib
import io
import logging
import warnings
from dataclasses import dataclass

import onnx
import torch

from dgprune.errors import DgpruneError, require_between
from dgprune.models import Transformer, set_fused_attention

INPUT, OUTPUT = "images", "logits"


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxSpec:
    """How to export: `batch` is "dynamic" or a number of images, `opset` 18 to 20.

    From 17 on LayerNormalization is one node, which later precisions rely on.
    """

    batch: str = "dynamic"
    opset: int = 20

    def __post_init__(self) -> None:
        if self.batch != "dynamic":
            if not (self.batch.isascii() and self.batch.isdigit()):
                raise DgpruneError(
                    f"--batch {self.batch!r} is neither dynamic nor a number of images"
                )
            require_between("--batch", int(self.batch), 1, 4096)
        if not 18 <= self.opset <= 20:
            raise DgpruneError(f"--opset {self.opset} is outside 18 to 20")


def onnx_graph(model: Transformer, spec: OnnxSpec, metadata: dict[str, str]) -> onnx.ModelProto:
    """The checked graph of `model`: images [batch, 3, px, px] in, logits [batch, classes] out.

    `metadata` is stored in the file, so that it is usable alone.
    """
    set_fused_attention(model, False)
    size = model.patch_embed.img_size
    # An example batch of one would be baked into a dynamic graph.
    batch = 2 if spec.batch == "dynamic" else int(spec.batch)
    example = torch.zeros(batch, 3, *size)
    dynamic = {0: torch.export.Dim("batch")} if spec.batch == "dynamic" else None
    with _quiet():
        program = torch.onnx.export(
            model.eval(),
            (example,),
            dynamo=True,
            opset_version=spec.opset,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=(dynamic,) if dynamic else None,
            verbose=False,
        )
    if program is None:
        raise DgpruneError(
            "PyTorch's exporter returned no graph; check torch and onnxscript in `doctor`"
        )
    graph: onnx.ModelProto = program.model_proto
    _forget_this_machine(graph)
    for key, value in sorted(metadata.items()):
        graph.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(graph, full_check=True)
    require_opset(graph, spec.opset)
    return graph


def require_opset(graph: onnx.ModelProto, opset: int) -> None:
    """Raises DgpruneError where the exporter chose another opset than was asked for."""
    found = {entry.domain: entry.version for entry in graph.opset_import}
    if found.get("", 0) != opset:
        raise DgpruneError(f"the exporter wrote opset {found.get('')}, asked was {opset}")


def count_weights(graph: onnx.ModelProto) -> int:
    """Numbers in the initialisers of floating-point type."""
    return sum(
        int(torch.Size(tensor.dims).numel())
        for tensor in graph.graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT
    )


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
def _quiet():  # type: ignore[no-untyped-def]
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
