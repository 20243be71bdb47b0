"""OpenVINO on a CPU: its own files, or ONNX as it is; precision, streams and threads are set."""

import statistics
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any, Self

import numpy as np

from dgprune.data.preprocessing import Floats
from dgprune.node_kinds import kinds_of_executed, kinds_of_nodes, nodes_of_openvino
from dgprune.node_times import NodeTime
from dgprune.proof import Layer, Proof, prove
from dgprune.records import RuntimeSpec
from dgprune.runtimes import Inputs, Loadable, check_inputs, failed

_PRODUCTS = ("FullyConnected", "Convolution", "MatMul", "ScaledDotProductAttention")
_MICROSECOND = timedelta(microseconds=1)
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
        self._model: Any = None
        self._means_us: list[dict[str, int]] | None = None  # after each call, where profiled

    def __enter__(self) -> Self:
        self._load(profiled=False)
        return self

    def _load(self, *, profiled: bool) -> None:
        import openvino

        file, core = self._loadable.file, openvino.Core()
        settings = {
            "INFERENCE_PRECISION_HINT": self._hint(core),
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": self._spec.threads,
            "PERF_COUNT": profiled,
        }
        try:
            self._model = core.read_model(file)
            self._compiled = core.compile_model(self._model, "CPU", settings)
        except RuntimeError as error:
            raise failed(f"OpenVINO cannot load {file}", error) from error

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
        self._compiled = self._model = None

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
            raise failed(f"OpenVINO failed to run {self._loadable.file}", error) from error
        if self._means_us is not None:
            told = self._requests[index].profiling_info
            self._means_us.append({p.node_name: p.real_time // _MICROSECOND for p in told})

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

    def profile(self) -> None:
        """Compiles the file again, with counters; nothing is bound then."""
        self._requests.clear()
        self._load(profiled=True)
        self._means_us = []

    def node_times(self, skip: int) -> tuple[NodeTime, ...]:
        """Mean time of every executed node over the calls, without the first `skip`."""
        assert self._means_us is not None
        executed = nodes_of_openvino(self._compiled.get_runtime_model())
        kinds = kinds_of_executed(executed, kinds_of_nodes(nodes_of_openvino(self._model)))
        found = []
        for node in executed:
            means_us = [means.get(node.name, 0) for means in self._means_us]
            if means_us[-1] > 0:
                times = (mean_ns(means_us, skip),)
                kind = kinds[node.name]
                found.append(NodeTime(name=node.name, op=node.op, kind=kind, durations_ns=times))
        return tuple(found)


def mean_ns(means_us: Sequence[int], skip: int) -> int:
    """Mean of the calls after the first `skip`, from the mean of all calls up to each.

    OpenVINO tells no other, and in whole microseconds. What a call adds is then known to about as
    many microseconds as there were calls; one that adds far more, for something else took the core,
    is left out.
    """
    totals_us = [0, *(count * mean for count, mean in enumerate(means_us, 1))]
    added_us = [b - a for a, b in pairwise(totals_us)][skip:]
    limit_us = 3 * statistics.median(added_us) + 2 * len(means_us)
    kept_us = [us for us in added_us if us <= limit_us]
    return max(0, round(1000 * statistics.fmean(kept_us)))


def _is_attention(kind: str, layers: str) -> bool:
    """Whether a node is an attention block: both products and the softmax in one."""
    if kind == "ScaledDotProductAttention":
        return True
    return kind == "Subgraph" and "matmul" in layers.lower() and "softmax" in layers.lower()
