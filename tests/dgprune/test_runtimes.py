"""Opening a file to run it: what is refused in one line, and that runtimes agree."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx.external_data_helper import convert_model_to_external_data

import dgprune
from benchmark.cells import LatencySpec
from benchmark.latency import bench
from benchmark.subject import open_subject
from dgprune.artefact import open_artefact
from dgprune.checkpoint import load_model, open_checkpoint
from dgprune.environment import threads_here
from dgprune.errors import DgpruneError
from dgprune.records import LatencyRecord, RuntimeSpec, read_records
from dgprune.runtimes.onnxruntime import OnnxRuntime, proof_of, require_own_data
from dgprune.runtimes.opening import EXECUTES, loadable_of, require_here, runtime_spec
from tests.conftest import TinyChain

IMAGES = np.random.default_rng(0).normal(size=(3, 3, 32, 32)).astype(np.float32)


def spec_for(name: str, **change: Any) -> RuntimeSpec:
    return RuntimeSpec(name=name, provider="cpu", threads=1, **change)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "torch", "torch-compile"])
def test_every_cpu_runtime_gives_pytorchs_logits(chain: TinyChain, name: str) -> None:
    if name == "openvino":
        pytest.importorskip("openvino")
    folder = chain.pruned if "torch" in name else chain.pruned_artefact
    with torch.no_grad():
        expected = load_model(open_checkpoint(chain.pruned))(torch.from_numpy(IMAGES)).numpy()
    with open_subject(folder).run(spec_for(name)) as runtime:
        runtime.bind([IMAGES, IMAGES[::-1].copy()])
        for index, wanted in ((1, expected[::-1]), (0, expected)):
            runtime.infer(index)
            np.testing.assert_allclose(runtime.output(index), wanted, atol=1e-4)
        proof = runtime.proof()
    assert set(proof.precisions) == {"fp32"} and not proof.fallbacks


def test_the_python_api_opens_an_artefact(chain: TinyChain) -> None:
    artefact = open_artefact(chain.pruned_artefact)
    with dgprune.open_runtime(artefact, spec_for("onnxruntime")) as runtime:
        runtime.bind([IMAGES])
        runtime.infer(0)
        assert runtime.output(0).shape == (3, 2)


@pytest.mark.parametrize(
    ("batch", "reason"),
    [
        (np.full((2, 3, 32, 32), np.nan, np.float32), "holds NaN or Inf"),
        (np.full((2, 3, 32, 32), np.inf, np.float32), "holds NaN or Inf"),
        (np.zeros((2, 3, 64, 64), np.float32), r"shape \(3, 32, 32\), got \(3, 64, 64\)"),
        (np.zeros((2, 3, 32, 32), np.uint8), "takes float32 images, got uint8"),
        (np.zeros((2, 3, 32, 32), np.float64), "takes float32 images, got float64"),
    ],
)
@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "torch"])
def test_inputs_that_do_not_fit_are_refused(
    chain: TinyChain, name: str, batch: np.ndarray, reason: str
) -> None:
    folder = chain.pruned if name == "torch" else chain.pruned_artefact
    with open_subject(folder).run(spec_for(name)) as runtime:
        with pytest.raises(DgpruneError, match=reason):
            runtime.bind([batch])


@pytest.mark.parametrize(
    ("form", "runtime", "provider", "reason"),
    [
        (
            "onnx",
            "tensorrt",
            None,
            "--runtime tensorrt does not execute onnx; use onnxruntime or openvino",
        ),
        ("onnx", "ort", None, "--runtime 'ort' must be one of"),
        ("openvino", None, "cuda", "--runtime openvino has no --provider 'cuda'; it has cpu"),
        ("safetensors", "onnxruntime", None, "use torch or torch-compile"),
    ],
)
def test_a_runtime_that_cannot_do_it_is_refused(
    form: str, runtime: str | None, provider: str | None, reason: str
) -> None:
    with pytest.raises(DgpruneError, match=reason):
        runtime_spec(form, runtime, provider, 1, allow_fallback=False)


def test_every_format_has_a_default() -> None:
    for form in ("onnx", "openvino", "tensorrt", "safetensors"):
        name = runtime_spec(form, None, None, 1, allow_fallback=False).name
        assert EXECUTES[name][0] == form


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_gpu_provider_without_a_gpu_is_one_line(chain: TinyChain, provider: str) -> None:
    spec = replace(spec_for("onnxruntime"), provider=provider)
    with pytest.raises(DgpruneError, match="has no .*ExecutionProvider|fell back to"):
        with open_subject(chain.pruned_artefact).run(spec):
            pass


def external(source: Path, folder: Path, location: str) -> Path:
    """The same graph with its weights in another file."""
    graph = onnx.load(source)
    convert_model_to_external_data(graph, location="weights.bin", size_threshold=1024)
    file = folder / "model.fp32.onnx"
    onnx.save(graph, file)
    graph = onnx.load(file, load_external_data=False)
    for tensor in graph.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    file.write_bytes(graph.SerializeToString())
    return file


def test_weights_beside_the_file_are_taken(chain: TinyChain, tmp_path: Path) -> None:
    source = chain.pruned_artefact / "model.fp32.onnx"
    file = external(source, tmp_path, "weights.bin")
    loadable = loadable_of(open_artefact(chain.pruned_artefact), spec_for("onnxruntime"))
    with OnnxRuntime(replace(loadable, file=file), spec_for("onnxruntime")) as runtime:
        runtime.bind([IMAGES])
        runtime.infer(0)
        assert np.isfinite(runtime.output(0)).all()
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(DgpruneError, match=r"weights in 'weights.bin', which is missing"):
        require_own_data(file)


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/passwd", "a/../../weights.bin"])
def test_weights_outside_of_the_folder_are_refused(
    chain: TinyChain, tmp_path: Path, location: str
) -> None:
    file = external(chain.pruned_artefact / "model.fp32.onnx", tmp_path, location)
    with pytest.raises(DgpruneError, match="outside of its folder"):
        require_own_data(file)


def test_what_is_no_onnx_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"\xff" * 40)
    with pytest.raises(DgpruneError, match="is not an ONNX file"):
        require_own_data(tmp_path / "x.onnx")


@pytest.mark.parametrize("name", ["openvino", "torch"])
def test_other_runtimes_are_timed_with_their_proof(
    chain: TinyChain, tmp_path: Path, name: str
) -> None:
    if name == "openvino":
        pytest.importorskip("openvino")
    dense, pruned = (
        (chain.dense, chain.pruned)
        if name == "torch"
        else (chain.dense_artefact, chain.pruned_artefact)
    )
    spec = LatencySpec(
        artefact=str(pruned),
        baseline=str(dense),
        data=chain.data,
        runtime=name,
        batch_sizes=(1,),
        tier="smoke",
    )
    bench(spec, tmp_path / "r.jsonl")
    control, record = (entry.record for entry in read_records(tmp_path / "r.jsonl"))
    assert isinstance(control, LatencyRecord) and control.is_control
    assert isinstance(record, LatencyRecord)
    assert record.runtime.name == name
    assert record.proof is not None and record.baseline_proof is not None
    assert set(record.proof.precisions) == {"fp32"}
    assert len(record.proof.layers) >= len(record.baseline_proof.layers) - 4


def event(kind: str, provider: str, inputs: str, outputs: str) -> dict[str, Any]:
    told = {
        "op_name": kind,
        "provider": provider,
        "input_type_shape": [{inputs: [1]}],
        "output_type_shape": [{outputs: [1]}],
    }
    return {"cat": "Node", "name": f"{kind}_kernel_time", "args": told}


def test_nodes_that_fall_to_the_cpu_are_seen_and_shapes_are_not(chain: TinyChain) -> None:
    cuda, cpu = "CUDAExecutionProvider", "CPUExecutionProvider"
    spec = replace(spec_for("onnxruntime"), provider="cuda")
    loadable = loadable_of(open_artefact(chain.pruned_artefact), spec)
    events = [
        {"cat": "Session", "name": "load", "args": {}},
        event("MatMul", cuda, "float", "float"),
        event("Shape", cpu, "float", "int64"),
    ]
    proof = proof_of(events, loadable)
    assert (proof.nodes, proof.fallbacks) == ({"cuda": 1}, ())
    fallen = proof_of([*events, event("Gelu", cpu, "float", "float")], loadable)
    assert fallen.fallbacks == ("asked cuda, but of 2 nodes run 1 on cpu",)
    half = proof_of([*events, event("MatMul", cuda, "float16", "float16")], loadable)
    assert half.fallbacks == ("asked fp32, but of 2 layers run 1 in fp16",)
    assert proof_of([], loadable).fallbacks


@pytest.mark.parametrize(("asked", "threads"), [("1", 1), ("", None), ("0", None), ("9999", None)])
def test_what_is_not_timed_takes_all_cores_or_what_a_sweep_allots(
    monkeypatch: pytest.MonkeyPatch, asked: str, threads: int | None
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert threads_here() == (threads or len(os.sched_getaffinity(0)))


def test_what_this_machine_lacks_is_told_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for form in ("onnx", "openvino", "safetensors"):
        require_here(runtime_spec(form, None, None, 1, allow_fallback=False))
    monkeypatch.setattr("dgprune.runtimes.opening.find_spec", lambda name: None)
    with pytest.raises(DgpruneError, match="openvino is not installed; `dgprune doctor` says"):
        require_here(runtime_spec("openvino", None, None, 1, allow_fallback=False))
    with pytest.raises(DgpruneError, match="no CUDAExecutionProvider; .*make install EXTRAS=gpu"):
        require_here(runtime_spec("onnx", None, "cuda", 1, allow_fallback=False))
    for form, provider in (("tensorrt", None), ("safetensors", "cuda")):
        with pytest.raises(DgpruneError, match="needs an NVIDIA GPU and its driver"):
            require_here(runtime_spec(form, None, provider, 1, allow_fallback=False))
