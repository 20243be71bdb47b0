"""int8: quantise and dequantise nodes around every matrix product with weights.

Symmetric and signed on both sides, weights per channel, activations per tensor, as TensorRT needs
it and ONNX Runtime fuses it. Ranges end at the 99.99th percentile of the absolute value: measured
on a ViT-Tiny (PACS), 98.3 % of the top-1 classes stay, where the largest value keeps 97.4 %.
"""

import contextlib
import io
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import onnx

from dgprune.runtimes import Inputs

PERCENTILE = 99.99
_WITH_WEIGHTS = ("Gemm", "MatMul")


class _Batches:
    """What ONNX Runtime's calibration reads; a batch at a time, so that memory stays bounded."""

    def __init__(self, name: str, batches: Sequence[Inputs]) -> None:
        self._name, self._batches = name, batches
        self._next, self._end = 0, len(batches)

    def __len__(self) -> int:
        return len(self._batches)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._next, self._end = start_index, min(end_index, len(self._batches))

    def get_next(self) -> dict[str, Inputs] | None:
        if self._next >= self._end:
            return None
        self._next += 1
        return {self._name: self._batches[self._next - 1]}


def in_int8(
    graph: onnx.ModelProto, inputs: Sequence[Inputs], keep: Sequence[str] = ()
) -> onnx.ModelProto:
    """`graph` with every matrix product with weights between int8 tensors, but for nodes `keep`.

    `inputs` are calibration batches. Products of two activations, LayerNorm and softmax stay, and
    so does the patch embedding, which ONNX Runtime would not run in int8 behind these nodes.
    """
    from onnxruntime.quantization import (
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    with tempfile.TemporaryDirectory(prefix="dgprune-int8-") as folder, _quiet():
        source, result = Path(folder, "fp32.onnx"), Path(folder, "int8.onnx")
        onnx.save(graph, source)
        quantize_static(
            source,
            result,
            _Batches(graph.graph.input[0].name, inputs),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            nodes_to_quantize=[name for name in nodes_with_weights(graph) if name not in keep],
            op_types_to_quantize=list(_WITH_WEIGHTS),
            calibrate_method=CalibrationMethod.Percentile,
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,  # TensorRT takes no int32 to dequantise
                "CalibPercentile": PERCENTILE,
                "CalibTensorRangeSymmetric": True,
                "CalibStridedMinMax": 1,  # one batch at a time, whatever the method
            },
        )
        return onnx.load(result)


def nodes_with_weights(graph: onnx.ModelProto) -> list[str]:
    """Names of the nodes that multiply by an initialiser."""
    weights = {tensor.name for tensor in graph.graph.initializer}
    return [
        node.name
        for node in graph.graph.node
        if node.op_type in _WITH_WEIGHTS and node.input[1] in weights
    ]


@contextlib.contextmanager
def _quiet():  # type: ignore[no-untyped-def]
    """Mutes what the quantiser prints, and its advice to preprocess an already clean graph."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(level)
