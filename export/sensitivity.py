"""Which layers of a graph int8 costs most: they stay fp32 first, where parity asks for it."""

from collections.abc import Sequence

import numpy as np
import onnx

from dgprune.runtimes import Inputs
from export.inside import MarkedSession, Values
from export.quantised import nodes_with_weights

_IMAGES = 64


def most_sensitive(
    graph: onnx.ModelProto, quantised: onnx.ModelProto, inputs: Sequence[Inputs]
) -> list[str]:
    """Names of the layers of the fp32 `graph` that `quantised` has in int8, the costliest first.

    A layer's cost is what the mean squared error of the outputs on calibration batches `inputs`
    falls by when that layer alone goes back to fp32.
    """
    few = _first_images(inputs)
    expected = _outputs(graph, few)
    remaining = {
        name: float(np.square(_outputs(_restored(graph, quantised, name), few) - expected).mean())
        for name in nodes_with_weights(graph)
    }
    return sorted(remaining, key=lambda name: (remaining[name], name))


def _first_images(inputs: Sequence[Inputs]) -> list[Inputs]:
    count = max(1, _IMAGES // len(inputs[0]))
    return list(inputs[:count])


def _outputs(graph: onnx.ModelProto, inputs: Sequence[Inputs]) -> Values:
    """The graph's output, [images, classes]."""
    session = MarkedSession(graph, ())
    (name,) = (output.name for output in graph.graph.output)
    return np.concatenate([session.run(batch)[name] for batch in inputs])


def _restored(graph: onnx.ModelProto, quantised: onnx.ModelProto, layer: str) -> onnx.ModelProto:
    """`quantised` with the product of `layer` as it is in `graph`; int32 biases lose nothing.

    Quantisers stand around its input, its weights and its output.
    """
    restored = onnx.ModelProto()
    restored.CopyFrom(quantised)
    (original,) = (node for node in graph.graph.node if node.name == layer)
    (changed,) = (node for node in restored.graph.node if node.name == layer)
    changed.input[0], changed.input[1] = original.input[0], original.input[1]
    result = changed.output[0]
    stored = {node.output[0] for node in restored.graph.node if node.input[:1] == [result]}
    for node in restored.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in stored:
            node.op_type = "Identity"
            node.input[:] = [result]
    there = {tensor.name for tensor in restored.graph.initializer}
    for tensor in graph.graph.initializer:
        if tensor.name == original.input[1] and tensor.name not in there:
            restored.graph.initializer.append(tensor)
    return restored
