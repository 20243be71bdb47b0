"""`open_runtime`: what is to execute an opened artefact or checkpoint.

torch is imported for a checkpoint only: beside another runtime its thread pool would spin.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING

from dgprune.artefact import OpenArtefact
from dgprune.errors import DgpruneError
from dgprune.proof import Wanted
from dgprune.records import RuntimeSpec
from dgprune.runtimes import InputForm, Loadable, NodeTimer, Runtime

if TYPE_CHECKING:
    from dgprune.checkpoint import Checkpoint

# What each runtime executes, and on which providers; the first of a format is its default.
EXECUTES: dict[str, tuple[str, ...]] = {
    "onnxruntime": ("onnx",),
    "openvino": ("openvino", "onnx"),
    "tensorrt": ("tensorrt",),
    "torch": ("safetensors",),
    "torch-compile": ("safetensors",),
}
PROVIDERS: dict[str, tuple[str, ...]] = {
    "onnxruntime": ("cpu", "cuda", "tensorrt"),
    "openvino": ("cpu",),
    "tensorrt": ("cuda",),
    "torch": ("cpu", "cuda"),
    "torch-compile": ("cpu", "cuda"),
}


def runtime_spec(
    form: str, runtime: str | None, provider: str | None, threads: int, *, allow_fallback: bool
) -> RuntimeSpec:
    """The runtime for a file of format `form`: its default, and its first provider, where None.

    Raises DgpruneError, naming what there is, for a runtime or provider that cannot do it.
    """
    fitting = [name for name, formats in EXECUTES.items() if form in formats]
    name = runtime or fitting[0]
    if name not in EXECUTES:
        raise DgpruneError(f"--runtime {name!r} must be one of {', '.join(EXECUTES)}")
    if name not in fitting:
        raise DgpruneError(f"--runtime {name} does not execute {form}; use {' or '.join(fitting)}")
    known = PROVIDERS[name]
    if provider is not None and provider not in known:
        raise DgpruneError(
            f"--runtime {name} has no --provider {provider!r}; it has {', '.join(known)}"
        )
    return RuntimeSpec(
        name=name,
        provider=provider or known[0],
        threads=threads,
        allow_fallback=allow_fallback,
    )


def require_here(spec: RuntimeSpec) -> None:
    """Raises DgpruneError where this machine lacks what executes `spec`."""
    if spec.name == "onnxruntime":
        from dgprune.runtimes.onnxruntime import require_provider

        require_provider(spec.provider)
    elif spec.name == "openvino":
        if find_spec("openvino") is None:
            raise DgpruneError("openvino is not installed; `dgprune doctor` says how to get it")
    elif spec.provider != "cpu":
        from dgprune.runtimes.cuda_device import require_cuda

        require_cuda(f"--runtime {spec.name}")


def require_executes(precision: str, spec: RuntimeSpec) -> None:
    """Raises DgpruneError where this machine's CPU would compute a `precision` in another one.

    That is known before a file is made; what a GPU does, the proof of the file says.
    """
    if spec.provider != "cpu" or precision in ("fp32", "int8"):
        return
    capable: list[str] = []
    if spec.name == "openvino":
        import openvino

        capable = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision.upper() not in capable:
        raise DgpruneError(
            f"{spec.name} does not compute in {precision} on this CPU; leave {precision} out of "
            "[export], or name another runtime or provider"
        )


def open_runtime(opened: "OpenArtefact | Checkpoint", spec: RuntimeSpec) -> Runtime:
    """The runtime of `spec` for an opened artefact or checkpoint, to be entered.

    Raises DgpruneError where that runtime cannot execute it.
    """
    if isinstance(opened, OpenArtefact):
        return open_node_timer(opened, spec)
    from dgprune.checkpoint import load_model
    from dgprune.runtimes.torch import Torch

    return Torch(lambda: load_model(opened), loadable_of(opened, spec), spec)


def open_node_timer(opened: OpenArtefact, spec: RuntimeSpec) -> NodeTimer:
    """The runtime of `spec` for an opened artefact, which can be profiled too.

    What is no part of loading comes first, so that whoever times that does not time it: imports,
    and the look for weights outside of an ONNX file.
    """
    loadable = loadable_of(opened, spec)
    if opened.artefact.format == "onnx":
        from dgprune.runtimes.onnxruntime import require_own_data

        require_own_data(loadable.file)
    if spec.name == "openvino":
        from dgprune.runtimes.openvino import OpenVino

        return OpenVino(loadable, spec)
    if spec.name == "tensorrt":
        from dgprune.runtimes.tensorrt import TensorRt

        return TensorRt(loadable, spec)
    from dgprune.runtimes.onnxruntime import OnnxRuntime

    return OnnxRuntime(loadable, spec)


def loadable_of(opened: "OpenArtefact | Checkpoint", spec: RuntimeSpec) -> Loadable:
    """File, input and what should run of an opened folder."""
    form = form_of(opened)
    if not isinstance(opened, OpenArtefact):
        return Loadable(
            file=opened.path / "weights.safetensors",
            form=form,
            wanted=Wanted(precision="fp32", layers={}, provider=spec.provider),
            built_with={},
        )
    sidecar = opened.artefact
    return Loadable(
        file=opened.file,
        form=form,
        wanted=Wanted(precision=sidecar.precision, layers=sidecar.layers, provider=spec.provider),
        built_with=sidecar.built_with,
        node_kinds=sidecar.node_kinds,
    )


def form_of(opened: "OpenArtefact | Checkpoint") -> InputForm:
    """What an opened folder takes; a checkpoint takes every batch size."""
    if not isinstance(opened, OpenArtefact):
        size = opened.structure.image_size
        return InputForm(image=(3, size, size))
    sidecar = opened.artefact
    size = sidecar.origin.preprocessing.image_size
    baked = sidecar.with_preprocessing
    largest = sidecar.built_with.get("largest_batch")
    return InputForm(
        image=(size, size, 3) if baked else (3, size, size),
        dtype="uint8" if baked else "float32",
        batch=None if sidecar.batch == "dynamic" else int(sidecar.batch),
        largest=int(largest) if largest else None,
    )
