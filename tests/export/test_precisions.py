"""Every format and precision: what the file holds, what runs, and what parity says."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmark.accuracy import EvaluateSpec, evaluate
from benchmark.subject import open_subject
from dgprune.artefact import PRECISIONS, open_artefact
from dgprune.errors import DgpruneError, LeakError
from dgprune.records import AccuracyRecord, RuntimeSpec, read_records
from export.export_checkpoint import export
from export.half_precision import in_fp16, measured_ranges
from export.spec import ExportSpec
from tests.conftest import TinyChain

openvino = pytest.importorskip("openvino")
FORMATS = ("onnx", "openvino")


@pytest.fixture(scope="module")
def exported(
    chain: TinyChain, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], Path]:
    out = tmp_path_factory.mktemp("precisions") / "store"
    return {
        (form, precision): export(
            ExportSpec(
                checkpoint=str(chain.pruned),
                data=chain.data,
                format=form,  # type: ignore[arg-type]
                precision=precision,
                calibration_images=8,
            ),
            out,
        ).path
        for form in FORMATS
        for precision in PRECISIONS
    }


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_sidecar_names_format_precision_and_every_file(
    exported: dict[tuple[str, str], Path], form: str, precision: str
) -> None:
    folder = exported[form, precision]
    sidecar = open_artefact(folder).artefact
    suffix = {"onnx": "onnx", "openvino": "xml"}[form]
    assert (sidecar.format, sidecar.precision) == (form, precision)
    assert sidecar.file == f"model.{precision}.{suffix}"
    assert set(sidecar.files) == {p.name for p in folder.iterdir()} - {"artefact.json", "README.md"}
    assert sidecar.size_bytes == sum((folder / name).stat().st_size for name in sidecar.files)
    assert sidecar.parity.images == sum(d.images for d in sidecar.parity.domains.values()) == 4
    assert set(sidecar.parity.domains) == {"domain0", "domain1"}
    calibrated = precision == "int8" or (form, precision) == ("onnx", "fp16")
    assert (sidecar.calibration is not None) == calibrated


def test_the_onnx_files_hold_the_types_that_they_say(
    exported: dict[tuple[str, str], Path],
) -> None:
    wanted = {
        "fp32": onnx.TensorProto.FLOAT,
        "fp16": onnx.TensorProto.FLOAT16,
        "bf16": onnx.TensorProto.BFLOAT16,
        "int8": onnx.TensorProto.INT8,
    }
    for precision, kind in wanted.items():
        graph = onnx.load(exported["onnx", precision] / f"model.{precision}.onnx").graph
        size = Counter[int]()
        for tensor in graph.initializer:
            size[tensor.data_type] += int(np.prod(tensor.dims))
        assert size.most_common(1)[0][0] == kind
        kinds = {i.type.tensor_type.elem_type for i in (*graph.input, *graph.output)}
        assert kinds == {onnx.TensorProto.FLOAT}  # a device need not know the precision


def test_smaller_precisions_are_smaller_files(exported: dict[tuple[str, str], Path]) -> None:
    sizes = {
        key: open_artefact(folder).artefact.size_bytes / 1000 for key, folder in exported.items()
    }
    assert sizes["onnx", "int8"] < sizes["onnx", "fp16"] < sizes["onnx", "fp32"]
    assert sizes["onnx", "bf16"] < sizes["onnx", "fp32"]
    assert sizes["openvino", "int8"] < sizes["openvino", "fp32"]
    assert sizes["openvino", "fp16"] < sizes["openvino", "fp32"]


def test_int8_weights_are_symmetric_and_per_channel(
    exported: dict[tuple[str, str], Path],
) -> None:
    graph = onnx.load(exported["onnx", "int8"] / "model.int8.onnx").graph
    values = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    points = [values[n.input[2]] for n in graph.node if n.op_type.endswith("quantizeLinear")]
    assert all(not point.any() for point in points)
    weights = [
        n
        for n in graph.node
        if n.op_type == "DequantizeLinear" and values.get(n.input[0]) is not None
    ]
    matrices = [n for n in weights if values[n.input[0]].ndim == 2]
    assert len(matrices) == 17
    assert all(values[n.input[1]].ndim == 1 and values[n.input[1]].size > 1 for n in matrices)


def proof_of(folder: Path, runtime: str) -> tuple[dict[str, int], tuple[str, ...], int]:
    subject = open_subject(folder)
    spec = RuntimeSpec(name=runtime, provider="cpu", threads=1, allow_fallback=True)
    with subject.run(spec) as loaded:
        loaded.bind([subject.inputs(np.zeros((2, 32, 32, 3), np.uint8))])
        proof = loaded.proof()
    return proof.precisions, proof.fallbacks, proof.fused_attention


def test_onnx_runtime_says_what_it_executes(exported: dict[tuple[str, str], Path]) -> None:
    precisions, fallbacks, fused = proof_of(exported["onnx", "fp32"], "onnxruntime")
    # Four products with weights and two without a block, four blocks, classifier and patches.
    assert (precisions, fallbacks, fused) == ({"fp32": 26}, (), 0)
    precisions, fallbacks, _ = proof_of(exported["onnx", "int8"], "onnxruntime")
    assert precisions["int8"] == 17 and fallbacks == ()
    precisions, fallbacks, _ = proof_of(exported["onnx", "fp16"], "onnxruntime")
    assert "fp16" not in precisions and "asked fp16" in fallbacks[0]


def test_openvino_says_what_it_executes(exported: dict[tuple[str, str], Path]) -> None:
    has = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    for form in FORMATS:
        precisions, fallbacks, fused = proof_of(exported[form, "fp32"], "openvino")
        assert set(precisions) == {"fp32"} and fallbacks == ()
        assert fused == 4
    precisions, fallbacks, _ = proof_of(exported["openvino", "bf16"], "openvino")
    assert (set(precisions) == {"bf16"}) == ("BF16" in has) == (fallbacks == ())
    if "INT8" in has:
        precisions, fallbacks, _ = proof_of(exported["openvino", "int8"], "openvino")
        assert precisions["int8"] >= 18 and fallbacks == ()


def test_a_fallback_is_refused_unless_allowed_and_is_in_the_record(
    exported: dict[tuple[str, str], Path], chain: TinyChain, tmp_path: Path
) -> None:
    folder, records = exported["onnx", "fp16"], tmp_path / "r.jsonl"
    asked = EvaluateSpec(subject=str(folder), data=chain.data, target=chain.target)
    with pytest.raises(DgpruneError, match=r"asked fp16, but of 26 layers .* --allow-fallback"):
        evaluate(asked, records)
    assert not records.exists()
    evaluate(replace(asked, allow_fallback=True), records)
    for entry in read_records(records):
        assert isinstance(entry.record, AccuracyRecord)
        assert entry.record.runtime.allow_fallback
        assert entry.record.proof is not None
        assert "asked fp16" in entry.record.proof.fallbacks[0]


def test_bf16_on_onnx_runtimes_cpu_is_one_line(
    exported: dict[tuple[str, str], Path], chain: TinyChain, tmp_path: Path
) -> None:
    spec = EvaluateSpec(subject=str(exported["onnx", "bf16"]), data=chain.data, target=chain.target)
    with pytest.raises(DgpruneError, match="no bf16 .* --runtime openvino"):
        evaluate(spec, tmp_path / "r.jsonl")


def test_calibration_never_sees_the_target(chain: TinyChain, tmp_path: Path) -> None:
    spec = {"checkpoint": str(chain.pruned), "data": chain.data, "precision": "int8"}
    with pytest.raises(DgpruneError, match="domain2: that domain is held out"):
        export(ExportSpec(**spec, calibrate_on=("domain2",)), tmp_path)  # type: ignore[arg-type]
    with pytest.raises(DgpruneError, match="'domain3' is no source domain"):
        export(ExportSpec(**spec, calibrate_on=("domain3",)), tmp_path)  # type: ignore[arg-type]
    one = ExportSpec(**spec, calibrate_on=("domain0",), calibration_images=8)  # type: ignore[arg-type]
    calibration = open_artefact(export(one, tmp_path / "s").path).artefact.calibration
    assert calibration is not None
    assert (calibration.domains, calibration.images) == (("domain0",), 8)


def test_a_planted_target_image_stops_calibration(
    chain: TinyChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import export.source_images as module

    def planted(samples: object, count: int, seed: int) -> object:
        from dgprune.data import Sample

        return (Sample(domain="domain2", label=0, key="domain2/class0/0.png"),)

    monkeypatch.setattr(module, "balanced", planted)
    spec = ExportSpec(checkpoint=str(chain.pruned), data=chain.data, precision="int8")
    with pytest.raises(LeakError, match="calibration may use source domains only"):
        export(spec, tmp_path)


def wide_graph(scale: float) -> onnx.ModelProto:
    """A LayerNormalization and a product whose input grows with `scale`."""
    from onnx import TensorProto, helper, numpy_helper

    weights = [
        numpy_helper.from_array(np.full(4, scale, np.float32), "wide"),
        numpy_helper.from_array(np.ones(4, np.float32), "one"),
        numpy_helper.from_array(np.eye(4, dtype=np.float32), "matrix"),
    ]
    nodes = [
        helper.make_node("Mul", ["x", "wide"], ["grown"], name="grow"),
        helper.make_node("LayerNormalization", ["grown", "one"], ["normed"], name="norm"),
        helper.make_node("MatMul", ["normed", "matrix"], ["y"], name="product"),
    ]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["b", 4]) for n in "xy"]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


@pytest.mark.parametrize(
    ("scale", "kept"), [(1.0, []), (200.0, ["norm"]), (9000.0, ["grow", "norm"])]
)
def test_nodes_whose_ranges_do_not_fit_stay_fp32(scale: float, kept: list[str]) -> None:
    images = [np.array([[1, -1, 0.5, 0.25]], np.float32)]
    graph = wide_graph(scale)
    assert measured_ranges(graph, images)["grown"] == scale
    converted, names = in_fp16(graph, images)
    assert names == kept
    onnx.checker.check_model(converted, full_check=True)


def test_preprocessing_inside_gives_the_same_predictions(chain: TinyChain, tmp_path: Path) -> None:
    spec = ExportSpec(checkpoint=str(chain.pruned), data=chain.data, with_preprocessing=True)
    baked = export(spec, tmp_path / "s").path
    seen = []
    for name, folder in (("baked", baked), ("plain", chain.pruned_artefact)):
        asked = EvaluateSpec(subject=str(folder), data=chain.data, target=chain.target)
        evaluate(asked, tmp_path / name)
        found = [e.record for e in read_records(tmp_path / name)]
        seen.append([r for r in found if isinstance(r, AccuracyRecord)])
    for mine, theirs in zip(*seen, strict=True):
        assert mine.confusion == theirs.confusion
        for one, other in ((mine.reliability, theirs.reliability), (mine.scaled, theirs.scaled)):
            assert one is not None and other is not None
            assert one.nll == pytest.approx(other.nll, rel=1e-4)
            assert one.temperature == pytest.approx(other.temperature, rel=1e-3)
    pixels = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3)).astype(np.uint8)
    subject = open_subject(baked)
    with subject.run(RuntimeSpec(name="onnxruntime", provider="cpu", threads=1)) as runtime:
        runtime.bind([pixels])
        runtime.infer(0)
        np.testing.assert_allclose(runtime.output(0).sum(1), 1, atol=1e-5)


def test_the_metadata_of_an_openvino_file_makes_it_usable_alone(
    exported: dict[tuple[str, str], Path],
) -> None:
    model = openvino.Core().read_model(exported["openvino", "fp16"] / "model.fp16.xml")
    classes = model.get_rt_info(["dgprune", "classes"]).astype(str)
    assert json.loads(classes) == ["class0", "class1"]


def test_openvinos_fp16_is_not_taken_for_the_type_of_its_weights(
    exported: dict[tuple[str, str], Path],
) -> None:
    if "FP16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU computes in fp16")
    precisions, fallbacks, _ = proof_of(exported["openvino", "fp16"], "openvino")
    assert set(precisions) == {"fp32"}
    assert "asked fp16" in fallbacks[0] and "in fp32" in fallbacks[0]
    parity = open_artefact(exported["openvino", "fp16"]).artefact.parity
    assert set(parity.executed) == {"fp32"}


@pytest.mark.parametrize(("images", "used"), [(7, 7), (3, 3), (8, 8)])
def test_every_calibration_image_is_used_and_every_domain_has_its_share(
    chain: TinyChain, tmp_path: Path, images: int, used: int
) -> None:
    spec = ExportSpec(
        checkpoint=str(chain.pruned),
        data=chain.data,
        precision="int8",
        calibration_images=images,
        parity_images=1,
    )
    sidecar = open_artefact(export(spec, tmp_path / "s").path).artefact
    assert sidecar.calibration is not None
    assert (sidecar.calibration.images, sidecar.calibration.domains) == (
        used,
        ("domain0", "domain1"),
    )
    assert {name: d.images for name, d in sidecar.parity.domains.items()} == {
        "domain0": 1,
        "domain1": 1,
    }


def test_a_fixed_batch_leaves_images_over(chain: TinyChain, tmp_path: Path) -> None:
    spec = ExportSpec(
        checkpoint=str(chain.pruned),
        data=chain.data,
        precision="int8",
        batch="4",
        calibration_images=6,
    )
    sidecar = open_artefact(export(spec, tmp_path / "s").path).artefact
    assert sidecar.calibration is not None and sidecar.calibration.images == 4


def test_a_batch_that_parity_cannot_fill_is_refused_first(chain: TinyChain, tmp_path: Path) -> None:
    spec = ExportSpec(checkpoint=str(chain.pruned), data=chain.data, batch="64")
    with pytest.raises(DgpruneError, match="--batch 64: parity has 4 images; raise --parity"):
        export(spec, tmp_path / "s")


def test_a_model_beyond_two_gigabytes_is_refused_first(
    chain: TinyChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.write._LARGEST_MESSAGE", 1000)
    spec = ExportSpec(checkpoint=str(chain.pruned), data=chain.data)
    with pytest.raises(DgpruneError, match="more than the 2 GB that an ONNX file holds"):
        export(spec, tmp_path / "s")
