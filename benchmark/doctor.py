"""What works on this machine: every runtime is made to compute something, not only imported."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from dgprune.environment import current_environment
from dgprune.progress import SILENT
from dgprune.proof import Wanted
from dgprune.records import RuntimeSpec
from dgprune.runtimes import InputForm, Loadable, Runtime
from dgprune.runtimes.onnxruntime import OnnxRuntime

if TYPE_CHECKING:
    import onnx

Check = Callable[[], str]
_IMAGES = np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was tried: whether it works, what was seen, and what to do about it.

    `otherwise` is what is said of it where it does not work.
    """

    name: str
    works: bool
    detail: str
    advice: str = ""
    otherwise: Literal["missing", "warning"] = "missing"


def examine() -> list[Finding]:
    """Everything `dgprune` can use, tried in turn."""
    return [
        _machine(),
        _python(),
        _try("torch", _torch, "make install"),
        _try("timm and torchvision", _timm, "make install"),
        _try("torch-pruning", _torch_pruning, "make install"),
        _try("onnxruntime (cpu)", _onnxruntime, "make install"),
        *_on_a_device(),
        _one_onnxruntime(),
        _try("openvino", _openvino, "pip install 'dgprune[openvino]'"),
        _try(
            "tensorrt", _tensorrt, "needs an NVIDIA GPU and driver: pip install 'dgprune[tensorrt]'"
        ),
        _disk(),
    ]


def print_findings(findings: list[Finding], *, as_json: bool) -> None:
    """A line a finding on stdout, or one JSON object."""
    if as_json:
        print(
            json.dumps(
                {
                    "findings": [asdict(f) for f in findings],
                    "environment": asdict(current_environment()),
                }
            )
        )
        return
    for finding in findings:
        mark = "ok     " if finding.works else finding.otherwise
        advice = f" -> {finding.advice}" if finding.advice and not finding.works else ""
        print(f"{mark} {finding.name}: {finding.detail}{advice}")


def _try(name: str, check: Check, advice: str) -> Finding:
    try:
        return Finding(name=name, works=True, detail=check())
    except Exception as error:  # whatever a broken install raises is the finding
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return Finding(name=name, works=False, detail=reason[:160], advice=advice)


def _machine() -> Finding:
    env = current_environment()
    load = os.getloadavg()[0]
    quota = "" if env.cpu_quota_cores is None else f", quota {env.cpu_quota_cores:g} cores"
    memory = f"{env.memory_bytes / 2**30:.0f} GiB"
    busy = load > env.cores / 2
    return Finding(
        name="machine",
        works=not busy,
        detail=f"{env.cpu}, {env.cores} cores{quota}, {memory}, load {load:.2f}",
        advice="other work is running; timings will be noisy until it ends",
        otherwise="warning",
    )


def _python() -> Finding:
    supported = (3, 11) <= sys.version_info[:2] <= (3, 12)
    return Finding(
        name="python",
        works=supported,
        detail=sys.version.split()[0],
        advice="dgprune is tested on Python 3.11 and 3.12",
        otherwise="warning",
    )


def _torch() -> str:
    import torch

    has_cuda = torch.cuda.is_available()
    ones = torch.ones(2, 2, device="cuda" if has_cuda else "cpu")
    _require(float((ones @ ones).sum()) == 8)
    return f"{torch.__version__} on {torch.cuda.get_device_name() if has_cuda else 'CPU'}"


def _timm() -> str:
    from dgprune.models import create

    create("vit_micro_patch4_32", num_classes=2, image_size=None)
    import timm

    return f"timm {timm.__version__} makes a model"


def _torch_pruning() -> str:
    from dgprune.models import create
    from pruning.groups import trace_groups

    trace_groups(create("vit_micro_patch4_32", num_classes=2, image_size=None))
    return f"{current_environment().libraries['torch-pruning']} traces a model"


def _on_a_device() -> list[Finding]:
    """ONNX Runtime's CUDA provider, where there is a device for it."""
    if current_environment().device is None:
        return []
    advice = "make install EXTRAS=gpu, or pip install 'dgprune[gpu]' without onnxruntime"
    return [_try("onnxruntime (cuda)", lambda: _onnxruntime("cuda"), advice)]


def _onnxruntime(provider: str = "cpu") -> str:
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "flatten.onnx"
        file.write_bytes(_graph().SerializeToString())
        spec = RuntimeSpec(name="onnxruntime", provider=provider, threads=1)
        _run(OnnxRuntime(_loadable(file, provider), spec))
    return f"{onnxruntime.__version__} runs a graph"


def _loadable(file: Path, provider: str) -> Loadable:
    return Loadable(
        file=file,
        form=InputForm(image=_IMAGES.shape[1:]),
        wanted=Wanted(precision="fp32", layers={}, provider=provider),
        built_with={},
    )


def _run(made: Runtime) -> None:
    """Raises what a runtime raises, or where it computes something else than `_graph` says."""
    with made as runtime:
        runtime.bind([_IMAGES])
        runtime.infer(0)
        _require(np.array_equal(runtime.output(0), _IMAGES.reshape(1, -1)))


def _require(right: bool) -> None:
    if not right:
        raise RuntimeError("it computes wrong results")


def _graph() -> "onnx.ModelProto":
    """Flattens [1, 3, 2, 2] to [1, 12]."""
    from onnx import TensorProto, helper

    shapes = {"images": _IMAGES.shape, "logits": (1, _IMAGES.size)}
    value = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    ]
    node = helper.make_node("Flatten", ["images"], ["logits"])
    graph = helper.make_graph([node], "flatten", value[:1], value[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def _one_onnxruntime() -> Finding:
    libraries = current_environment().libraries
    clash = "onnxruntime" in libraries and "onnxruntime-gpu" in libraries
    return Finding(
        name="one onnxruntime",
        works=not clash,
        detail="onnxruntime and onnxruntime-gpu overwrite each other" if clash else "no clash",
        advice="pip uninstall onnxruntime onnxruntime-gpu, then install the one you need",
    )


def _openvino() -> str:
    import openvino

    core = openvino.Core()
    compiled = core.compile_model(core.read_model(_graph().SerializeToString()), "CPU")
    found = next(iter(compiled([_IMAGES]).values()))
    _require(np.array_equal(found, _IMAGES.reshape(1, -1)))
    return f"{openvino.__version__} runs a graph on {', '.join(core.available_devices)}"


def _tensorrt() -> str:
    import torch

    if not torch.cuda.is_available():  # TensorRT without a driver crashes the process when used
        raise RuntimeError("no CUDA device here")
    return _build_and_run()


def _build_and_run() -> str:
    """Builds an engine and runs it, as `export` and `bench` do."""
    from dgprune.runtimes.tensorrt import TensorRt
    from export.spec import ExportSpec
    from export.tensorrt_engine import build_engine

    asked = ExportSpec(checkpoint="", data="", format="tensorrt", batch="1")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "flatten.engine"
        tied_to = build_engine(_graph(), file, asked, SILENT)
        spec = RuntimeSpec(name="tensorrt", provider="cuda", threads=1)
        _run(TensorRt(_loadable(file, "cuda"), spec))
    return f"{tied_to['tensorrt']} builds and runs a graph on {tied_to['device']}"


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free
    return Finding(
        name="disk",
        works=free > 2 * 2**30,
        detail=f"{free / 2**30:.0f} GiB free here",
        advice="a PACS sweep needs some gigabytes; choose an --out with more room",
        otherwise="warning",
    )
