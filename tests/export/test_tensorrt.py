"""TensorRT without a GPU: the names against both majors, the order of calls against a fake."""

import ast
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark import doctor
from benchmark.accuracy import EvaluateSpec, evaluate
from benchmark.builds import builds_of
from benchmark.cells import LatencySpec, cells_of
from benchmark.claimable import _require_builds
from benchmark.subject import open_subject
from dgprune.artefact import SIDECAR, open_artefact
from dgprune.errors import DgpruneError
from dgprune.records import AccuracyRecord, RuntimeSpec, read_records
from dgprune.runtimes import cuda_device
from dgprune.runtimes.opening import open_node_timer
from dgprune.schema import canonical_json, seal
from export.export_checkpoint import export
from export.spec import ExportSpec
from tests.conftest import TinyChain
from tests.fakes import tensorrt as fake

ROOT = Path(__file__).parents[2]
API: dict[str, dict[str, Any]] = json.loads(
    (ROOT / "tests" / "fixtures" / "tensorrt_api.json").read_text()
)
SHARED = ROOT.parent / "shared" / "tensorrt-api"
SOURCES = (
    "dgprune/runtimes/tensorrt.py",
    "dgprune/runtimes/tensorrt_profile.py",
    "export/tensorrt_engine.py",
)
FAKED = (
    *("Builder", "IBuilderConfig", "OnnxParser", "ParserError", "IOptimizationProfile"),
    *(
        "IProfiler",
        "ITimingCache",
        "Runtime",
        "ICudaEngine",
        "IExecutionContext",
        "EngineInspector",
    ),
)


def names_used(path: Path) -> Iterator[tuple[str, str]]:
    """`("Builder", "")` and `("BuilderFlag", "TF32")` of every `trt.` in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        chain: list[str] = []
        while isinstance(node, ast.Attribute):
            chain.insert(0, node.attr)
            node = node.value
        base = node.id if isinstance(node, ast.Name) else ""
        if base == "self" and chain[:1] == ["_trt"]:
            base, chain = "trt", chain[1:]
        if base == "trt" and chain:
            yield chain[0], chain[1] if len(chain) > 1 else ""


@pytest.mark.parametrize("major", API)
def test_every_name_that_the_code_uses_exists(major: str) -> None:
    used = {name for source in SOURCES for name in names_used(ROOT / source)}
    assert ("IProfiler", "") in used
    assert ("NetworkDefinitionCreationFlag", "STRONGLY_TYPED") in used
    for owner, name in used:
        assert owner in API[major], owner
        assert not name or name == "__init__" or name in API[major][owner], (owner, name)


@pytest.mark.parametrize("major", API)
def test_the_profiler_is_asked_by_names_that_exist(major: str) -> None:
    assert {"profiler", "enqueue_emits_profile"} <= set(API[major]["IExecutionContext"])
    assert "report_layer_time" in API[major]["IProfiler"]


@pytest.mark.parametrize("major", API)
@pytest.mark.parametrize("name", FAKED)
def test_the_fake_offers_nothing_that_tensorrt_does_not(major: str, name: str) -> None:
    own = {"detail", "profile", "model", "graph", "layers"}  # how the fake works inside
    offered = {n for n in vars(getattr(fake, name)) if not n.startswith("_")} - own
    assert offered <= set(API[major][name]), (name, offered)


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="the list of TensorRT's names is not beside this")
@pytest.mark.parametrize("major", API)
def test_the_fixture_is_what_the_bindings_have(major: str) -> None:
    real = json.loads((SHARED / f"{major}.json").read_text())
    for owner, names in API[major].items():
        if owner != "__version__":
            there = {*real[owner].get("attrs", []), *real[owner].get("enum", [])}
            assert set(names) == {name for name in there if not name.startswith("_")}


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A machine with a GPU and TensorRT, as the fake has them."""
    monkeypatch.setitem(sys.modules, "tensorrt", fake.module("10.16.1.11"))
    monkeypatch.setattr(cuda_device, "require_cuda", fake.device())
    monkeypatch.setattr(cuda_device, "Buffer", fake.Buffer)
    monkeypatch.setattr(cuda_device, "Stream", fake.Stream)
    monkeypatch.setenv("DGPRUNE_CACHE", str(tmp_path / "cache"))
    fake.CALLS.clear()
    return monkeypatch


def spec_of(chain: TinyChain, **change: Any) -> ExportSpec:
    given = ExportSpec(checkpoint=str(chain.pruned), data=chain.data, format="tensorrt")
    return replace(given, calibration_images=8, **change)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_an_engine_is_built_checked_and_evaluated(
    gpu: pytest.MonkeyPatch, chain: TinyChain, tmp_path: Path, precision: str
) -> None:
    folder = export(spec_of(chain, precision=precision, largest_batch=40), tmp_path / "s").path
    sidecar = open_artefact(folder).artefact
    assert sidecar.built_with["tensorrt"] == "10.16.1.11"
    assert sidecar.built_with["device"] == "Fake H1"
    head = fake.read(folder / f"model.{precision}.plan")
    assert head["detail"]
    assert head["profile"]["images"] == [[1, 3, 32, 32], [8, 3, 32, 32], [40, 3, 32, 32]]
    order = [call for call in fake.CALLS if not call.startswith("timing")]
    assert order[:4] == ["create_network", "parse", "build", "deserialize"]
    records = tmp_path / "r.jsonl"
    asked = EvaluateSpec(subject=str(folder), data=chain.data, target=chain.target)
    evaluate(asked, records)
    for entry in read_records(records):
        assert isinstance(entry.record, AccuracyRecord)
        assert entry.record.runtime.name == "tensorrt"
        assert entry.record.proof is not None and entry.record.proof.fallbacks == ()
        assert entry.record.proof.precisions[precision] >= 17


def test_timings_of_a_build_are_kept_for_the_next(
    gpu: pytest.MonkeyPatch, chain: TinyChain, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        export(spec_of(chain), tmp_path / name)
    gpu.setattr(cuda_device, "require_cuda", fake.device("Fake A1", "8.0"))
    export(spec_of(chain), tmp_path / "three")
    found = [call for call in fake.CALLS if call.startswith("timing")]
    assert [call.split()[3] for call in found] == ["0", "7", "0"]  # another device: anew


def test_a_small_profile_is_checked_and_evaluated(
    gpu: pytest.MonkeyPatch, chain: TinyChain, tmp_path: Path
) -> None:
    folder = export(spec_of(chain, largest_batch=3), tmp_path / "s").path
    asked = EvaluateSpec(subject=str(folder), data=chain.data, target=chain.target)
    assert evaluate(asked, tmp_path / "r.jsonl").fresh


def test_timings_that_cannot_be_kept_do_not_lose_the_engine(
    gpu: pytest.MonkeyPatch, chain: TinyChain, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    assert open_artefact(export(spec_of(chain), tmp_path / "s").path)


def test_a_static_batch_needs_no_profile(
    gpu: pytest.MonkeyPatch, chain: TinyChain, tmp_path: Path
) -> None:
    folder = export(spec_of(chain, batch="2"), tmp_path / "s").path
    assert fake.read(folder / "model.fp32.plan")["profile"] == {}


def open_here(folder: Path) -> None:
    with open_subject(folder).run(RuntimeSpec(name="tensorrt", provider="cuda", threads=1)):
        pass


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_layers_are_timed_and_told_apart(
    gpu: pytest.MonkeyPatch, chain: TinyChain, tmp_path: Path, precision: str
) -> None:
    opened = open_artefact(export(spec_of(chain, precision=precision), tmp_path / "s").path)
    spec = RuntimeSpec(name="tensorrt", provider="cuda", threads=1)
    batches = [np.full((2, 3, 32, 32), value, np.float32) for value in (0, 1)]
    with open_node_timer(opened, spec) as timer:
        timer.bind(batches)
        timer.infer(0)
        replayed = timer.output(0)
        timer.profile()
        fake.CALLS.clear()
        timer.bind(batches)
        for index in (1, 0, 1, 0):
            timer.infer(index)
        np.testing.assert_array_equal(timer.output(0), replayed)
        assert (timer.output(1) != replayed).any()  # each launch has addresses of its own
        found = timer.node_times(1)
    assert "capture" not in fake.CALLS  # a replayed graph tells no times
    kinds = [node.kind for node in found]
    block = ["attention"] * 4 + ["mlp"] * 2
    assert kinds == ["embedding", *block * 4, "head"]
    assert [node.durations_ns for node in found[:2]] == [(250_000,) * 3, (500_000,) * 3]


def test_an_engine_that_does_not_say_what_its_nodes_were_for_is_refused(
    gpu: pytest.MonkeyPatch, chain: TinyChain, tmp_path: Path
) -> None:
    opened = open_artefact(export(spec_of(chain), tmp_path / "s").path)
    old = replace(opened, artefact=replace(opened.artefact, node_kinds={}))
    spec = RuntimeSpec(name="tensorrt", provider="cuda", threads=1)
    with open_node_timer(old, spec) as timer:
        with pytest.raises(DgpruneError, match="before its nodes were named; export it again"):
            timer.profile()


def test_an_engine_of_another_version_or_gpu_is_refused(
    gpu: pytest.MonkeyPatch, chain: TinyChain, tmp_path: Path
) -> None:
    folder = export(spec_of(chain), tmp_path / "s").path
    open_here(folder)
    gpu.setattr(cuda_device, "require_cuda", fake.device("Fake A1", "8.0"))
    with pytest.raises(DgpruneError, match="built for device Fake H1, here is Fake A1; export it"):
        open_here(folder)
    gpu.setattr(cuda_device, "require_cuda", fake.device())
    gpu.setitem(sys.modules, "tensorrt", fake.module("11.4.0.106"))
    with pytest.raises(DgpruneError, match=r"built for tensorrt 10.16.1.11, here is 11.4.0.106"):
        open_here(folder)
    again = export(spec_of(chain), tmp_path / "s").path
    assert again != folder
    open_here(again)


def test_a_batch_beyond_the_profile_is_refused(
    gpu: pytest.MonkeyPatch, chain: TinyChain, tmp_path: Path
) -> None:
    subject = open_subject(export(spec_of(chain, largest_batch=32), tmp_path / "s").path)
    with subject.run(RuntimeSpec(name="tensorrt", provider="cuda", threads=1)) as runtime:
        runtime.bind([np.zeros((32, 3, 32, 32), np.float32)])
        with pytest.raises(DgpruneError, match="batches up to 32, got 33"):
            runtime.bind([np.zeros((33, 3, 32, 32), np.float32)])


def test_a_file_that_is_no_engine_is_one_line(
    gpu: pytest.MonkeyPatch, chain: TinyChain, tmp_path: Path
) -> None:
    folder = export(spec_of(chain), tmp_path / "s").path
    file = folder / "model.fp32.plan"
    file.write_bytes(b"no engine")
    sidecar = json.loads((folder / SIDECAR).read_text())
    del sidecar["id"]
    from dgprune.schema import file_sha256

    sidecar["sha256"] = sidecar["files"][file.name] = file_sha256(file)
    (folder / SIDECAR).write_text(canonical_json(seal(sidecar)))
    with pytest.raises(DgpruneError, match="cannot load .*: magic tag does not match; export"):
        open_here(folder)


def test_a_graph_that_tensorrt_cannot_read_is_one_line(
    gpu: pytest.MonkeyPatch, chain: TinyChain, tmp_path: Path
) -> None:
    gpu.setattr(fake.OnnxParser, "parse", lambda self, model: bool(setattr(self, "num_errors", 1)))
    with pytest.raises(DgpruneError, match="cannot read the graph: no importer for this node$"):
        export(spec_of(chain), tmp_path / "s")
    assert not (tmp_path / "s").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_nothing_of_tensorrt_is_touched(
    chain: TinyChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)  # importing it would raise
    with pytest.raises(DgpruneError, match="--format tensorrt needs an NVIDIA GPU and its driver"):
        export(spec_of(chain), tmp_path / "s")


def test_doctor_builds_an_engine_and_runs_it(gpu: pytest.MonkeyPatch) -> None:
    assert doctor._build_and_run() == "10.16.1.11 builds and runs a graph on Fake H1"
    assert {"build", "parse"} <= set(fake.CALLS)
    gpu.setattr(fake.Buffer, "download", lambda buffer: np.zeros((1, 12), np.float32))
    gpu.setattr("torch.cuda.is_available", lambda: True)
    found = doctor._try("tensorrt", doctor._tensorrt, "")
    assert (found.works, found.detail) == (False, "it computes wrong results")


def test_builds_of_an_engine_are_found_and_take_turns(
    gpu: pytest.MonkeyPatch, chain: TinyChain, tmp_path: Path
) -> None:
    arms = {"candidate": str(chain.pruned), "baseline": str(chain.dense)}
    store = tmp_path / "s"
    folders = {
        arm: [
            export(replace(spec_of(chain), checkpoint=checkpoint, build=n), store).path
            for n in ((2, 1, 3) if arm == "candidate" else (1, 2))
        ]
        for arm, checkpoint in arms.items()
    }
    export(spec_of(chain, precision="fp16"), store)  # another file, no build of this one
    first = open_subject(folders["candidate"][1])
    found = [build.folder.resolve() for build in builds_of(first)]
    two, one, three = (folder.resolve() for folder in folders["candidate"])
    assert found == [one, two, three]
    spec = LatencySpec(
        artefact=str(one), baseline=str(folders["baseline"][0]), data=chain.data, tier="claim"
    )
    cell = cells_of(spec)[0]
    assert [cell.build(number) for number in range(5)] == [0, 1, 0, 1, 0]
    folders_used = [cell.job(number).arms["candidate"].folder for number in range(2)]
    assert folders_used == [str(one), str(two)]
    with pytest.raises(DgpruneError, match="needs 3 builds .* the baseline has 2 .* --build 2"):
        _require_builds(cell)
    export(replace(spec_of(chain), checkpoint=str(chain.dense), build=3), store)
    fewer, cell = cell, cells_of(spec)[0]
    assert cell.digest() != fewer.digest()  # one more build: measured again
    _require_builds(cell)
    assert [cell.build(number) for number in range(4)] == [0, 1, 2, 0]
    shutil.copytree(three, store / "copy-of-three")
    assert cells_of(spec)[0].digest() == cell.digest()  # a copy is no build more


@pytest.mark.parametrize("engine", ["candidate", "baseline"])
def test_beside_another_format_only_the_engine_has_builds(
    gpu: pytest.MonkeyPatch, chain: TinyChain, tmp_path: Path, engine: str
) -> None:
    folder = export(replace(spec_of(chain), checkpoint=str(chain.dense)), tmp_path / "s").path
    files = {"candidate": chain.dense_artefact, "baseline": chain.dense_artefact, engine: folder}
    spec = LatencySpec(
        artefact=str(files["candidate"]),
        baseline=str(files["baseline"]),
        data=chain.data,
        varies="runtime",
        tier="claim",
    )
    cell = cells_of(spec)[0]
    assert [cell.build(number) for number in range(3)] == [0, 0, 0]  # one engine was built
    with pytest.raises(DgpruneError, match=f"needs 3 builds .* the {engine} has 1 "):
        _require_builds(cell)


def test_a_batch_past_the_range_of_an_engine_is_refused_before_anything_runs(
    gpu: pytest.MonkeyPatch, chain: TinyChain, tmp_path: Path
) -> None:
    folder = export(replace(spec_of(chain), largest_batch=8), tmp_path / "s").path
    spec = LatencySpec(artefact=str(folder), data=chain.data, batch_sizes=(1, 8))
    assert len(cells_of(spec)) == 2
    with pytest.raises(DgpruneError, match="batches up to 8, not 32; .* --largest-batch 32"):
        cells_of(replace(spec, batch_sizes=(1, 32)))


def test_another_build_goes_without_the_timing_cache(
    gpu: pytest.MonkeyPatch, chain: TinyChain, tmp_path: Path
) -> None:
    cache = tmp_path / "cache" / "tensorrt"
    export(spec_of(chain, build=2), tmp_path / "s")
    assert not list(cache.glob("*.timings"))
    export(spec_of(chain), tmp_path / "s")
    assert len(list(cache.glob("*.timings"))) == 1
