"""ONNX Runtime through IO binding, on its CPU, CUDA or TensorRT provider."""

import contextlib
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from dgprune.data.preprocessing import Floats
from dgprune.errors import DgpruneError
from dgprune.node_times import NodeTime
from dgprune.proof import Layer, Proof, prove
from dgprune.records import RuntimeSpec
from dgprune.runtimes import Inputs, Loadable, check_inputs, failed, first_line
from dgprune.runtimes.onnxruntime_profile import Profile, name_of, node_times

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
_NAMES = {provider: name for name, provider in PROVIDERS.items()}
_PRODUCTS = ("Conv", "Gemm", "MatMul", "Attention")  # also inside of fused names
_FUSED_ATTENTION = ("Attention", "MultiHeadAttention", "PackedAttention", "QAttention")
_HIDDEN = "TRTKernel"  # all that the TensorRT provider took, in one node
_UNKNOWN = "a type that ONNX Runtime does not tell (use --format tensorrt)"
_PRECISIONS = {"float": "fp32", "float16": "fp16", "bfloat16": "bf16"}


def require_provider(name: str) -> str:
    """ONNX Runtime's own name of a provider; raises DgpruneError where it was built without."""
    import onnxruntime

    provider = PROVIDERS[name]
    if provider not in onnxruntime.get_available_providers():
        raise DgpruneError(
            f"this ONNX Runtime has no {provider}; install onnxruntime-gpu in its place: "
            "make install EXTRAS=gpu, or pip uninstall onnxruntime, then pip install 'dgprune[gpu]'"
        )
    return provider


class OnnxRuntime:
    """One ONNX file in one session; `spec.threads` is the size of its only thread pool."""

    def __init__(self, loadable: Loadable, spec: RuntimeSpec) -> None:
        self._loadable = loadable
        self._file = loadable.file
        self._spec = spec
        self._session: Any = None
        self._bindings: list[Any] = []
        self._batches: list[Inputs] = []
        self._profile: Profile | None = None
        self._calls = 0

    def __enter__(self) -> Self:
        if (self._loadable.wanted.precision, self._spec.provider) == ("bf16", "cpu"):
            raise DgpruneError(
                f"ONNX Runtime's CPU provider has no bf16 kernels for {self._file}; "
                "use --runtime openvino"
            )
        self._session = self._open(self._options())
        return self

    def __exit__(self, *failure: object) -> None:
        self._bindings.clear()
        self._batches.clear()
        self._session = None
        if self._profile is not None:
            self._profile.close()

    def bind(self, batches: Sequence[Inputs]) -> None:
        """Places inputs [batch, ...] on the device; outputs stay in ONNX Runtime's memory."""
        import onnxruntime

        check_inputs(batches, self._loadable.form, self._file)
        source, result = self._session.get_inputs()[0], self._session.get_outputs()[0]
        self._bindings.clear()
        self._batches = list(batches)  # a binding reads them in place
        device = "cpu" if self._spec.provider == "cpu" else "cuda"
        for batch in batches:
            binding = self._session.io_binding()
            if device == "cpu":
                binding.bind_cpu_input(source.name, batch)
            else:
                binding.bind_ortvalue_input(
                    source.name, onnxruntime.OrtValue.ortvalue_from_numpy(batch, device, 0)
                )
            binding.bind_output(result.name, device)
            self._bindings.append(binding)

    def infer(self, index: int) -> None:
        """Computes the batch bound at `index`; on a GPU, until the device has finished."""
        self._calls += 1
        try:
            self._session.run_with_iobinding(self._bindings[index])
        except Exception as error:  # its exception types are private
            raise failed(f"ONNX Runtime failed to run {self._file}", error) from error
        if self._spec.provider != "cpu":
            self._bindings[index].synchronize_outputs()

    def output(self, index: int) -> Floats:
        """Outputs [batch, classes] of the last `infer(index)`."""
        outputs: Floats = self._bindings[index].copy_outputs_to_cpu()[0]
        return outputs

    def proof(self) -> Proof:
        """Provider and precision of every node, from a profile of one call in a second session."""
        options = self._options()
        profile = Profile(options)
        try:
            session = self._open(options)
            session.run(None, {session.get_inputs()[0].name: self._batches[0]})
            return proof_of(profile.events(session), self._loadable)
        finally:
            profile.close()

    def profile(self) -> None:
        """Loads the file again, profiled; nothing is bound then."""
        options = self._options()
        self._profile = Profile(options)
        self._profile.keep_graph()
        self._bindings.clear()
        self._session, self._calls = self._open(options), 0

    def node_times(self, skip: int) -> tuple[NodeTime, ...]:
        """Time of every executed node in every call, without the first `skip`."""
        assert self._profile is not None
        events = self._profile.events(self._session)
        return node_times(events, self._profile.kinds(self._file), self._calls, skip)

    def _options(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._spec.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        return options

    def _open(self, options: Any) -> Any:
        import onnxruntime

        provider = require_provider(self._spec.provider)
        if self._spec.provider != "cpu":
            _load_cuda()
        # ten bits of mantissa are not fp32
        settings = {"use_tf32": "0"} if self._spec.provider == "cuda" else {}
        try:
            session = onnxruntime.InferenceSession(
                self._file, options, providers=[(provider, settings)]
            )
        except (
            Exception
        ) as error:  # its exception types are private; all mean: this file does not load
            raise failed(f"ONNX Runtime cannot load {self._file}", error) from error
        found = session.get_providers()
        if found[0] != provider:  # CUDA that is listed, but does not load
            raise DgpruneError(
                f"ONNX Runtime fell back to {found[0]}, asked was {provider}; "
                "check the driver with dgprune doctor"
            )
        return session


def _load_cuda() -> None:
    """Loads CUDA and cuDNN from the wheels beside ONNX Runtime, as PyTorch does for itself.

    ONNX Runtime alone looks in the system's folders, where pip puts nothing.
    """
    import onnxruntime

    with contextlib.redirect_stdout(io.StringIO()):  # it prints what is missing; opening says so
        onnxruntime.preload_dlls()


def require_own_data(file: Path) -> None:
    """Raises DgpruneError where the ONNX file keeps weights in a file that is not beside it."""
    import onnx
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    try:
        graph = onnx.load(file, load_external_data=False).graph
    except Exception as error:  # protobuf's errors are many; all mean: this is no ONNX file
        raise DgpruneError(f"{file} is not an ONNX file: {first_line(error)}") from None
    for tensor in filter(uses_external_data, graph.initializer):
        name = ExternalDataInfo(tensor).location
        if Path(name).name != name:
            raise DgpruneError(
                f"{file} keeps weights in {name!r}, outside of its folder; export again"
            )
        if not (file.parent / name).is_file():
            raise DgpruneError(
                f"{file} keeps weights in {name!r}, which is missing; restore it beside the file"
            )


def proof_of(events: list[dict[str, Any]], loadable: Loadable) -> Proof:
    """The proof in the events of one of ONNX Runtime's profiles."""
    layers, nodes, fused = [], Counter[str](), 0
    for event in events:
        told = event.get("args", {})
        if event.get("cat") != "Node" or "provider" not in told:
            continue
        kind, provider = told["op_name"], _NAMES.get(told["provider"], told["provider"])
        if provider == "cpu" and not _computes_numbers(told):
            continue  # a GPU provider leaves the arithmetic of shapes to the CPU on purpose
        nodes[provider] += 1
        fused += kind in _FUSED_ATTENTION
        if kind.startswith(_HIDDEN):
            layers.append(Layer(name=kind, kind=kind, precision=_UNKNOWN, provider=provider))
        elif any(product in kind for product in _PRODUCTS):
            layers.append(
                Layer(name=name_of(event), kind=kind, precision=_precision(told), provider=provider)
            )
    return prove(loadable.wanted, tuple(layers), dict(nodes), fused)


def _computes_numbers(told: dict[str, Any]) -> bool:
    """Whether a node gives anything else than integers: images, activations, logits."""
    kinds = {kind for entry in told.get("output_type_shape", []) for kind in entry}
    return not kinds or bool(kinds - {"int64", "int32", "bool"})


def _precision(told: dict[str, Any]) -> str:
    """The type that a node computes in: that of its first input."""
    (first, *_) = (kind for entry in told["input_type_shape"] for kind in entry)
    return "int8" if first in ("int8", "uint8") else _PRECISIONS.get(first, first)
