"""TensorRT as far as it is used: the same names and order of calls, computed by ONNX Runtime.

Whatever the real library would crash or fail on silently raises here: a context that runs without
addresses, a shape outside of the profile, a build without a parsed network.
"""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx

from dgprune.errors import DgpruneError
from dgprune.runtimes import cuda_device
from dgprune.timing import DeviceTime

MEMORY: dict[int, np.ndarray[Any, Any]] = {}
CALLS: list[str] = []


class ILogger:
    ERROR, INTERNAL_ERROR, INFO = "error", "internal", "info"


class IProgressMonitor:
    pass


class IProfiler:
    pass


class ITimingCache:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def serialize(self) -> bytes:
        return self.data or b"timings"


class IOptimizationProfile:
    def __init__(self) -> None:
        self.shapes: dict[str, list[tuple[int, ...]]] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:  # noqa: A002
        assert tuple(min) <= tuple(opt) <= tuple(max)
        self.shapes[input] = [tuple(min), tuple(opt), tuple(max)]


class IBuilderConfig:
    def __init__(self) -> None:
        self.profiling_verbosity = ""
        self.progress_monitor: Any = None
        self.profiles: list[IOptimizationProfile] = []
        self.flags_cleared: list[str] = []
        self.cache: ITimingCache | None = None

    def clear_flag(self, flag: str) -> None:
        self.flags_cleared.append(flag)

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache:
        return ITimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        CALLS.append(f"timing cache of {len(cache.data)} bytes")
        self.cache = cache
        return True

    def get_timing_cache(self) -> ITimingCache:
        assert self.cache is not None
        return self.cache


class INetworkDefinition:
    graph: bytes = b""


class ParserError:
    def desc(self) -> str:
        return "no importer for this node\nmore text"


class OnnxParser:
    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        self.network = network
        self.num_errors = 0

    def parse(self, model: bytes) -> bool:
        CALLS.append("parse")
        graph = onnx.load_model_from_string(model).graph
        if not graph.node or _dequantised(graph) - {onnx.TensorProto.INT8}:
            self.num_errors = 1
            return False
        self.network.graph = model
        return True

    def get_error(self, index: int) -> ParserError:
        assert index < self.num_errors
        return ParserError()


def _dequantised(graph: onnx.GraphProto) -> set[int]:
    """Types of the weights that are dequantised; TensorRT takes int8 only, no int32 of a bias."""
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    read = [node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"]
    return {kinds[name] for name in read if name in kinds}


class Builder:
    def __init__(self, logger: ILogger) -> None:
        self.logger = logger

    def create_network(self, flags: int) -> INetworkDefinition:
        assert flags == 1 << 1, "not strongly typed"
        CALLS.append("create_network")
        return INetworkDefinition()

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(
        self, network: INetworkDefinition, config: IBuilderConfig
    ) -> bytes | None:
        assert network.graph, "nothing was parsed"
        CALLS.append("build")
        source = onnx.load_model_from_string(network.graph).graph.input[0]
        if source.type.tensor_type.shape.dim[0].dim_param and not config.profiles:
            self.logger.log(ILogger.ERROR, "a dynamic input needs a profile")  # type: ignore[attr-defined]
            return None
        config.progress_monitor.phase_start("Building engine", None, 3)
        assert config.progress_monitor.step_complete("Building engine", 0)
        config.progress_monitor.phase_finish("Building engine")
        head = {
            "detail": config.profiling_verbosity == "detailed",
            "profile": config.profiles[0].shapes if config.profiles else {},
        }
        return json.dumps(head).encode() + b"\n" + network.graph


class EngineInspector:
    execution_context: Any = None

    def __init__(self, engine: "ICudaEngine") -> None:
        self._engine = engine

    def get_engine_information(self, format: str) -> str:  # noqa: A002
        assert format == "json" and self.execution_context is not None
        if not self._engine.detail:
            return json.dumps({"Layers": ["names", "only"]})
        return json.dumps({"Layers": self._engine.layers()})


class ICudaEngine:
    def __init__(self, plan: bytes) -> None:
        head, self.graph = plan.split(b"\n", 1)
        told = json.loads(head)
        self.detail, self.profile = told["detail"], told["profile"]
        self.model = onnx.load_model_from_string(self.graph)
        self.num_io_tensors = 2

    def get_tensor_name(self, index: int) -> str:
        values = (self.model.graph.input[0], self.model.graph.output[0])
        return str(values[index].name)

    def get_tensor_mode(self, name: str) -> str:
        return "input" if name == self.model.graph.input[0].name else "output"

    def create_execution_context(self) -> "IExecutionContext":
        return IExecutionContext(self)

    def create_engine_inspector(self) -> EngineInspector:
        return EngineInspector(self)

    def layers(self) -> list[dict[str, Any]]:
        types = {1: "Float", 10: "Half", 16: "BFloat16", 3: "Int8"}
        inferred = onnx.shape_inference.infer_shapes(self.model).graph.value_info
        kinds = {v.name: v.type.tensor_type.elem_type for v in inferred}
        kinds |= {t.name: t.data_type for t in self.model.graph.initializer}
        inner = {n.output[0]: n for n in self.model.graph.node}
        found: list[dict[str, Any]] = []
        for node in self.model.graph.node:
            if node.op_type not in ("MatMul", "Gemm", "Conv") or len(node.input) < 2:
                continue
            weights = inner.get(node.input[1])
            quantised = weights is not None and weights.op_type == "DequantizeLinear"
            kind = 3 if quantised else kinds.get(node.input[1], 1)
            form = f"Row major linear {types[kind]} format"
            entry = {
                "Name": f"__myl_Fc_myl0_{len(found)}",
                "LayerType": "gemm",
                "Inputs": [{"Name": node.input[0], "Format/Datatype": form}],
                "Outputs": [{"Name": f"__mye{len(found)}"}],
                "Metadata": f"[ONNX Layer: {node.name}]\x1f[ONNX Layer: {node.name}_bias]",
            }
            found.append(entry)
        return found


class IExecutionContext:
    def __init__(self, engine: ICudaEngine) -> None:
        import onnxruntime

        self.engine = engine
        self.session = onnxruntime.InferenceSession(
            engine.graph, providers=["CPUExecutionProvider"]
        )
        self.shape: tuple[int, ...] = ()
        self.addresses: dict[str, int] = {}
        self.profiler: Any = None
        self.enqueue_emits_profile = True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shape = tuple(shape)
        if name not in self.engine.profile:
            return True
        low, _, high = self.engine.profile[name]
        return all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True))

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        assert self.shape, "no input shape yet"
        classes = self.engine.model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
        return (self.shape[0], classes)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        assert memory in MEMORY, "not memory of the device"
        self.addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert stream_handle, "the default stream"
        source, result = (self.engine.get_tensor_name(i) for i in (0, 1))
        assert set(self.addresses) == {source, result}, "an address is missing"
        CALLS.append("execute")
        found = self.session.run(None, {source: MEMORY[self.addresses[source]]})[0]
        MEMORY[self.addresses[result]][:] = found
        if self.profiler is not None and self.enqueue_emits_profile:
            for number, layer in enumerate(self.engine.layers()):
                self.profiler.report_layer_time(layer_name=layer["Name"], ms=0.25 * (number + 1))
        return True


class Runtime:
    def __init__(self, logger: ILogger) -> None:
        self.logger = logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        CALLS.append("deserialize")
        if b'"detail"' not in serialized_engine[:40]:
            self.logger.log(ILogger.ERROR, "magic tag does not match\nmore")  # type: ignore[attr-defined]
            return None
        return ICudaEngine(serialized_engine)


class Buffer:
    """`cuda_device.Buffer` without a device."""

    def __init__(self, shape: tuple[int, ...], dtype: str) -> None:
        self.address = len(MEMORY) + 1
        MEMORY[self.address] = np.zeros(shape, dtype)

    def upload(self, array: np.ndarray[Any, Any]) -> None:
        MEMORY[self.address][:] = array

    def download(self) -> np.ndarray[Any, Any]:
        return MEMORY[self.address].copy()


class Stream:
    """`cuda_device.Stream` without a device: a captured graph launches again."""

    handle = 7

    def timed(self, launch: Any) -> DeviceTime:
        launch()
        CALLS.append("wait")
        return DeviceTime(device_ns=1000, enqueue_ns=100)

    def captured(self, launch: Any) -> Any:
        CALLS.append("capture")
        launch()
        kept = dict(MEMORY)

        def replay() -> None:
            assert MEMORY.keys() >= kept.keys()
            launch()

        return replay


def module(version: str) -> SimpleNamespace:
    """What `import tensorrt` gives."""
    return SimpleNamespace(
        __version__=version,
        Builder=Builder,
        OnnxParser=OnnxParser,
        Runtime=Runtime,
        ILogger=ILogger,
        IProfiler=IProfiler,
        IProgressMonitor=IProgressMonitor,
        NetworkDefinitionCreationFlag=SimpleNamespace(STRONGLY_TYPED=1),
        BuilderFlag=SimpleNamespace(TF32="tf32"),
        ProfilingVerbosity=SimpleNamespace(DETAILED="detailed"),
        LayerInformationFormat=SimpleNamespace(JSON="json"),
        TensorIOMode=SimpleNamespace(INPUT="input", OUTPUT="output"),
    )


def device(name: str = "Fake H1", capability: str = "9.0") -> Any:
    """`cuda_device.require_cuda` where there is such a device."""

    def require(what: str) -> cuda_device.DeviceIdentity:
        return cuda_device.DeviceIdentity(name=name, compute_capability=capability)

    return require


def no_device(what: str) -> cuda_device.DeviceIdentity:
    """`cuda_device.require_cuda` where there is none."""
    raise DgpruneError(f"{what} needs an NVIDIA GPU")


def read(file: Path) -> dict[str, Any]:
    """The head of a plan of this fake."""
    head: dict[str, Any] = json.loads(file.read_bytes().split(b"\n", 1)[0])
    return head
