"""OpenVINO on a CPU: its own files, or ONNX as it is; precision, streams and threads are set."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from dgprune.data.preprocessing import Floats
from dgprune.errors import DgpruneError
from dgprune.proof import Layer, Proof, prove
from dgprune.records import RuntimeSpec
from dgprune.runtimes import Inputs, Loadable, check_inputs, first_line
from dgprune.runtimes.onnxruntime import require_own_data

_PRODUCTS = ("FullyConnected", "Convolution", "MatMul", "ScaledDotProductAttention")
_HINTS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16", "int8": "f32"}
_PRECISIONS = {"f32": "fp32", "f16": "fp16", "bf16": "bf16", "i8": "int8", "u8": "int8"}


class OpenVino:
    """One compiled model, one stream, latency as its aim."""

    def __init__(self, loadable: Loadable, spec: RuntimeSpec) -> None:
        self._loadable = loadable
        self._spec = spec
        self._compiled: Any = None
        self._requests: list[Any] = []
        self._batches: list[Inputs] = []

    def __enter__(self) -> Self:
        import openvino

        file = self._loadable.file
        if file.suffix == ".onnx":
            require_own_data(file)
        core = openvino.Core()
        settings = {
            "INFERENCE_PRECISION_HINT": self._hint(core),
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": self._spec.threads,
        }
        try:
            self._compiled = core.compile_model(core.read_model(file), "CPU", settings)
        except RuntimeError as error:
            raise DgpruneError(f"OpenVINO cannot load {file}: {first_line(error)}") from error
        return self

    def _hint(self, core: Any) -> str:
        """The precision to ask for.

        Asked for an fp16 that it has not, OpenVINO takes bf16; where another one may run, fp32 is
        nearer to the file.
        """
        precision = self._loadable.wanted.precision
        has_fp16 = "FP16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "fp16" and not has_fp16 and self._spec.allow_fallback:
            return "f32"
        return _HINTS[precision]

    def __exit__(self, *failure: object) -> None:
        self._requests.clear()
        self._batches.clear()
        self._compiled = None

    def bind(self, batches: Sequence[Inputs]) -> None:
        """Places inputs [batch, ...] without a copy; one request a batch."""
        import openvino

        check_inputs(batches, self._loadable.form, self._loadable.file)
        self._requests.clear()
        self._batches = list(batches)  # the requests read them in place, and do not keep them
        for batch in batches:
            request = self._compiled.create_infer_request()
            request.set_input_tensor(openvino.Tensor(batch, shared_memory=True))
            self._requests.append(request)

    def infer(self, index: int) -> None:
        """Computes the batch bound at `index`."""
        try:
            self._requests[index].infer()
        except RuntimeError as error:
            raise DgpruneError(
                f"OpenVINO failed to run {self._loadable.file}: {first_line(error)}"
            ) from error

    def output(self, index: int) -> Floats:
        """Outputs [batch, classes] of the last `infer(index)`."""
        outputs: Floats = np.array(self._requests[index].get_output_tensor().data)
        return outputs

    def proof(self) -> Proof:
        """Executed precision of every layer, from the compiled graph."""
        layers, nodes, fused = [], Counter[str](), 0
        for node in self._compiled.get_runtime_model().get_ops():
            told = {key: value.astype(str) for key, value in node.get_rt_info().items()}
            kind = told.get("layerType", node.get_type_name())
            nodes["cpu"] += 1
            fused += _is_attention(kind, told.get("originalLayersNames", ""))
            if kind in _PRODUCTS:
                # The first input: "runtimePrecision" may be the type of compressed weights.
                precision = node.input(0).get_element_type().get_type_name()
                layers.append(
                    Layer(
                        name=node.get_friendly_name(),
                        kind=kind,
                        precision=_PRECISIONS.get(precision, precision),
                        provider="cpu",
                    )
                )
        return prove(self._loadable.wanted, tuple(layers), dict(nodes), fused)


def _is_attention(kind: str, layers: str) -> bool:
    """Whether a node is an attention block: both products and the softmax in one."""
    if kind == "ScaledDotProductAttention":
        return True
    return kind == "Subgraph" and "matmul" in layers.lower() and "softmax" in layers.lower()
