"""TensorRT, majors 10 and 11: one engine, CUDA graphs, pinned buffers.

CUDA is checked before any object is made: without a driver TensorRT's objects crash the process.
"""

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Self

from dgprune.data.preprocessing import Floats
from dgprune.errors import DgpruneError
from dgprune.node_times import NodeTime
from dgprune.proof import Layer, Proof, prove
from dgprune.records import RuntimeSpec
from dgprune.runtimes import Inputs, Loadable, check_inputs, cuda_device, failed
from dgprune.runtimes.tensorrt_profile import layer_profiler, node_times
from dgprune.timing import DeviceTime

_PRODUCTS = ("conv", "gemm", "matmul", "matrixmultiply", "mha", "attention")
_ATTENTION = ("mha", "attention")
# What an engine calls its types; bf16 comes first, for "bfloat16" holds "float" too.
_TYPES = (
    ("bf16", ("bf16", "bfloat16")),
    ("fp16", ("fp16", "half")),
    ("int8", ("int8",)),
    ("fp32", ("fp32", "float")),
)


def load_tensorrt(what: str) -> tuple[Any, dict[str, str]]:
    """The module, and what an engine of this machine is tied to.

    Raises DgpruneError where there is no CUDA device or no TensorRT.
    """
    device = cuda_device.require_cuda(what)
    try:
        import tensorrt
    except ImportError as error:
        raise DgpruneError(f"{what} needs TensorRT: pip install 'dgprune[tensorrt]'") from error
    return tensorrt, {
        "tensorrt": str(tensorrt.__version__),
        "device": device.name,
        "compute_capability": device.compute_capability,
    }


def quiet_logger(trt: Any, errors: list[str]) -> Any:
    """A logger that keeps what TensorRT calls an error in `errors`, and drops the rest."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                errors.append(msg.strip().splitlines()[0])

    return Logger()


class TensorRt:
    """One engine in one execution context; every binding is a captured graph.

    Where profiled, a binding is launched layer by layer: a replayed graph tells no times.
    """

    def __init__(self, loadable: Loadable, spec: RuntimeSpec) -> None:
        self._loadable = loadable
        self._spec = spec
        self._launches: list[Callable[[], None]] = []
        self._outputs: list[cuda_device.Buffer] = []
        self._inputs: list[cuda_device.Buffer] = []
        self._context: Any = None
        self._calls: list[dict[str, float]] | None = None  # ms by layer, where profiled

    def __enter__(self) -> Self:
        file = self._loadable.file
        self._trt, here = load_tensorrt(f"running {file.name}")
        for part, found in here.items():
            built = self._loadable.built_with.get(part, found)
            if built != found:
                raise DgpruneError(
                    f"{file} was built for {part} {built}, here is {found}; "
                    "export it again on this machine"
                )
        self._errors: list[str] = []
        self._logger = quiet_logger(self._trt, self._errors)
        self._engine = self._trt.Runtime(self._logger).deserialize_cuda_engine(file.read_bytes())
        if self._engine is None:
            raise failed(f"TensorRT cannot load {file}", f"{self._reason()}; export it again")
        self._context = self._engine.create_execution_context()
        if self._context is None:
            told = self._errors[-1] if self._errors else "out of memory on the device"
            raise failed(f"TensorRT cannot make a context for {file}", told)
        self._stream = cuda_device.Stream()
        return self

    def __exit__(self, *failure: object) -> None:
        self._launches.clear()
        self._inputs.clear()
        self._outputs.clear()
        self._context = self._engine = None

    def bind(self, batches: Sequence[Inputs]) -> None:
        """Uploads inputs [batch, ...] and captures a graph for each."""
        check_inputs(batches, self._loadable.form, self._loadable.file)
        self._launches.clear()
        self._inputs.clear()
        self._outputs.clear()
        source, result = self._names()
        for batch in batches:
            if not self._context.set_input_shape(source, batch.shape):
                raise DgpruneError(
                    f"{self._loadable.file} has no profile for a batch of {len(batch)}; "
                    "build it again with a larger --largest-batch"
                )
            shape = tuple(self._context.get_tensor_shape(result))
            before = cuda_device.Buffer(batch.shape, str(batch.dtype))
            after = cuda_device.Buffer(shape, "float32")
            before.upload(batch)
            self._inputs.append(before)
            self._outputs.append(after)
            launch = partial(self._launch, {source: before.address, result: after.address})
            replay = launch if self._calls is not None else self._stream.captured(launch)
            self._launches.append(replay)

    def infer(self, index: int) -> DeviceTime:
        """Replays the graph of `index`; returns when the device has finished."""
        if self._calls is not None:
            self._calls.append({})
        return self._stream.timed(self._launches[index])

    def output(self, index: int) -> Floats:
        """Outputs [batch, classes] of the last `infer(index)`."""
        return self._outputs[index].download()

    def proof(self) -> Proof:
        """Precision of every layer, from the engine's own description of itself."""
        return proof_of(self._described(), self._loadable)

    def profile(self) -> None:
        """Sets a profiler; nothing is bound then.

        Raises DgpruneError for an engine whose sidecar does not say what its nodes were for.
        """
        if not self._loadable.node_kinds:
            raise DgpruneError(
                f"{self._loadable.file} was exported before its nodes were named; export it again"
            )
        self._launches.clear()
        self._calls = []
        self._profiler = layer_profiler(self._trt, self._calls)
        self._context.profiler = self._profiler
        self._context.enqueue_emits_profile = True

    def node_times(self, skip: int) -> tuple[NodeTime, ...]:
        """Time of every layer in every call, without the first `skip`."""
        assert self._calls is not None
        return node_times(self._described(), self._loadable.node_kinds, self._calls[skip:])

    def _described(self) -> dict[str, Any]:
        """What the engine says of its layers."""
        inspector = self._engine.create_engine_inspector()
        inspector.execution_context = self._context
        text = inspector.get_engine_information(self._trt.LayerInformationFormat.JSON)
        described: dict[str, Any] = json.loads(text)
        return described

    def _launch(self, addresses: dict[str, int]) -> None:
        for name, address in addresses.items():
            self._context.set_tensor_address(name, address)
        if not self._context.execute_async_v3(self._stream.handle):
            raise failed(f"TensorRT failed to run {self._loadable.file}", self._reason())

    def _reason(self) -> str:
        """What TensorRT last called an error."""
        return self._errors[-1] if self._errors else "no reason given"

    def _names(self) -> tuple[str, str]:
        """Names of the input and the output."""
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        inputs = [n for n in names if self._mode(n) == self._trt.TensorIOMode.INPUT]
        (source,) = inputs
        (result,) = [name for name in names if name not in inputs]
        return source, result

    def _mode(self, name: str) -> Any:
        return self._engine.get_tensor_mode(name)


def proof_of(described: dict[str, Any], loadable: Loadable) -> Proof:
    """The proof in an engine's description; raises DgpruneError where that has no detail."""
    layers, fused = [], 0
    nodes = [layer for layer in described.get("Layers", []) if isinstance(layer, dict)]
    if not nodes:
        raise DgpruneError(
            f"{loadable.file} was built without detail, so nothing proves its precision; "
            "export it again"
        )
    for node in nodes:
        kind = str(node.get("LayerType", ""))
        words = f"{kind} {node.get('TacticName', '')}".lower()
        fused += any(word in words for word in _ATTENTION)
        if any(product in words for product in _PRODUCTS):
            layers.append(
                Layer(
                    name=str(node.get("Name", "")),
                    kind=kind,
                    precision=_precision(node),
                    provider="cuda",
                )
            )
    return prove(loadable.wanted, tuple(layers), {"cuda": len(nodes)}, fused)


def _precision(node: dict[str, Any]) -> str:
    """The type of a layer's first input, as an engine words it."""
    for tensor in node.get("Inputs", []):
        words = str(tensor.get("Format/Datatype", "")).lower()
        for precision, names in _TYPES:
            if any(name in words for name in names):
                return precision
    return "unknown"
