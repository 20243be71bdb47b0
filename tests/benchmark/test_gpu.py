"""On a machine with an NVIDIA GPU: the same files, the same logits, and all of it on the device."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.subject import open_subject, proven
from dgprune.artefact import Precision
from dgprune.records import RuntimeSpec
from export.export_checkpoint import export
from export.spec import ExportSpec
from tests.conftest import TinyChain

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU here"),
]
PIXELS = np.random.default_rng(0).integers(0, 255, (4, 32, 32, 3)).astype(np.uint8)
CPU = RuntimeSpec(name="onnxruntime", provider="cpu", threads=1)


def outputs(folder: Path, spec: RuntimeSpec) -> np.ndarray:
    subject = open_subject(folder)
    with subject.run(spec) as runtime:
        proven(runtime, subject, spec, len(PIXELS))
        runtime.bind([subject.inputs(PIXELS)])
        runtime.infer(0)
        return np.array(runtime.output(0))


@pytest.mark.parametrize("name", ["torch", "torch-compile"])
def test_pytorch_on_the_gpu_gives_the_same_logits(chain: TinyChain, name: str) -> None:
    spec = RuntimeSpec(name=name, provider="cuda", threads=1)
    expected = outputs(chain.pruned_artefact, CPU)
    np.testing.assert_allclose(outputs(chain.pruned, spec), expected, atol=2e-2)


def test_the_device_times_a_call_by_its_own_clock(chain: TinyChain) -> None:
    subject = open_subject(chain.pruned)
    with subject.run(RuntimeSpec(name="torch", provider="cuda", threads=1)) as runtime:
        runtime.bind([subject.inputs(PIXELS)])
        told = [runtime.infer(0) for _ in range(20)][-1]
    assert told is not None
    assert told.device_ns > 0 and told.enqueue_ns > 0


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_cuda_provider_runs_every_node(
    chain: TinyChain, tmp_path: Path, precision: Precision
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has no CUDA provider")
    spec = ExportSpec(checkpoint=str(chain.pruned), data=chain.data, precision=precision)
    folder = export(spec, tmp_path / "s").path
    expected = outputs(chain.pruned_artefact, CPU)
    found = outputs(folder, replace(CPU, provider="cuda"))
    np.testing.assert_allclose(found, expected, atol=2e-2)


@pytest.mark.tensorrt
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16", "int8"])
def test_tensorrt_builds_proves_and_runs(
    chain: TinyChain, tmp_path: Path, precision: Precision
) -> None:
    pytest.importorskip("tensorrt")
    spec = ExportSpec(
        checkpoint=str(chain.pruned), data=chain.data, format="tensorrt", precision=precision
    )
    folder = export(spec, tmp_path / "s").path
    found = outputs(folder, RuntimeSpec(name="tensorrt", provider="cuda", threads=1))
    np.testing.assert_allclose(found, outputs(chain.pruned_artefact, CPU), atol=0.2)
