"""fp16: the whole graph, but for nodes whose measured ranges do not fit."""

import logging
import warnings
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto

from dgprune.runtimes import Inputs
from export.inside import OrtGraph

LARGEST = 65504.0  # of fp16
_HEADROOM = 8.0  # other images may reach further than those that were measured
_SQUARING = ("LayerNormalization",)


def in_fp16(graph: onnx.ModelProto, inputs: Sequence[Inputs]) -> tuple[onnx.ModelProto, list[str]]:
    """`graph` in fp16 with fp32 inputs and outputs, and the names of nodes that stay fp32.

    A node stays fp32 where a value that it reads or writes comes within a factor of 8 of fp16's
    largest on the calibration batches `inputs`; a LayerNormalization, some kernels of which square
    in fp16, where the square would.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    largest = measured_ranges(graph, inputs)
    kept = [node.name for node in graph.graph.node if not _fits(node, largest)]
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    logger = logging.getLogger("onnxruntime.transformers.float16")
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # weights below fp16's smallest become 0; parity judges
        converted = convert_float_to_float16(copy, keep_io_types=True, node_block_list=kept)
    OnnxModel(converted).topological_sort()  # its casts of the input stand at the end
    return converted, kept


def measured_ranges(graph: onnx.ModelProto, inputs: Sequence[Inputs]) -> dict[str, float]:
    """Largest absolute value of every float tensor on `inputs`."""
    largest: dict[str, float] = {}
    inside = OrtGraph(graph)
    session = inside.session(node.output for node in inside.nodes())
    for batch in inputs:
        for name, value in session.run(batch).items():
            if value.dtype.kind == "f" and value.size:
                largest[name] = max(largest.get(name, 0.0), float(np.abs(value).max()))
    for tensor in graph.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            value = onnx.numpy_helper.to_array(tensor)
            largest[tensor.name] = float(np.abs(value).max()) if value.size else 0.0
    return largest


def _fits(node: onnx.NodeProto, largest: dict[str, float]) -> bool:
    reach = max((largest.get(name, 0.0) for name in (*node.input, *node.output)), default=0.0)
    if node.op_type in _SQUARING:
        reach = max(reach, largest.get(node.input[0], 0.0) ** 2)
    return reach * _HEADROOM < LARGEST
