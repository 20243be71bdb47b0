"""int8 that costs too much: the most sensitive layers stay fp32, and the sidecar names them."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from benchmark.subject import open_subject, proven
from dgprune.artefact import Format, Parity, open_artefact
from dgprune.errors import DgpruneError
from dgprune.inspection import inspect_folder, print_inspection
from dgprune.records import RuntimeSpec
from export import at_parity
from export.export_checkpoint import export
from export.inside import MarkedSession
from export.parity import ParityError, compare
from export.quantised import in_int8, nodes_with_weights
from export.sensitivity import most_sensitive
from export.spec import ExportSpec
from export.write import write_files
from tests.conftest import TinyChain

Array = np.ndarray


def error_of(graph: onnx.ModelProto, expected: Array, inputs: list[Array]) -> float:
    found = np.concatenate([MarkedSession(graph, ()).run(batch)["logits"] for batch in inputs])
    return float(np.square(found - expected).mean())


def test_the_ranking_is_that_of_quantising_all_layers_but_one(chain: TinyChain) -> None:
    graph = onnx.load(chain.dense_artefact / "model.fp32.onnx")
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal((4, 3, 32, 32)).astype(np.float32) for _ in range(4)]
    expected = np.concatenate([MarkedSession(graph, ()).run(batch)["logits"] for batch in inputs])
    ranked = most_sensitive(graph, in_int8(graph, inputs), inputs)
    errors = [error_of(in_int8(graph, inputs, [name]), expected, inputs) for name in ranked]
    assert sorted(ranked) == sorted(nodes_with_weights(graph))
    assert errors == pytest.approx(sorted(errors), rel=0.02)
    assert errors[0] < 0.95 * errors[-1]


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_layers_stay_fp32_until_parity_holds(
    chain: TinyChain,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    form: str,
) -> None:
    if form == "openvino":
        pytest.importorskip("nncf")
    calls = 0

    def strict(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise ParityError("too far", 0)
        return compare(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(at_parity, "compare", strict)
    spec = ExportSpec(
        checkpoint=str(chain.pruned),
        data=chain.data,
        precision="int8",
        format=form,  # type: ignore[arg-type]
    )
    folder = export(spec, tmp_path / "s").path
    sidecar = open_artefact(folder).artefact
    graph = onnx.load(chain.pruned_artefact / "model.fp32.onnx")
    assert len(sidecar.kept_fp32) == 2 and calls == 3
    assert set(sidecar.kept_fp32) < set(nodes_with_weights(graph))
    everything = len(nodes_with_weights(graph)) + (form == "openvino")  # and the patch embedding
    assert sidecar.layers["int8"] == everything - 2
    runtime = RuntimeSpec(
        name="onnxruntime" if form == "onnx" else "openvino", provider="cpu", threads=1
    )
    subject = open_subject(folder)
    with subject.run(runtime) as loaded:
        executed = proven(loaded, subject, runtime, 2).precisions
    assert executed["int8"] >= everything - 2 and executed["fp32"] >= 2
    print_inspection(inspect_folder(folder), as_json=False)
    assert f"in fp32    {', '.join(sidecar.kept_fp32)}" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_the_classifier_may_stay_fp32(
    chain: TinyChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Format
) -> None:
    """It is the one product whose node has its bias inside, which OpenVINO takes apart."""
    if form == "openvino":
        pytest.importorskip("nncf")
    graph = onnx.load(chain.pruned_artefact / "model.fp32.onnx")
    (head,) = (node.name for node in graph.graph.node if node.op_type == "Gemm")
    others = [name for name in nodes_with_weights(graph) if name != head]
    monkeypatch.setattr(at_parity, "most_sensitive", lambda *_: [head, *others])
    refused = iter([ParityError("too far", 0)])

    def strict(expected: Array, *more: Any) -> Parity:
        if (error := next(refused, None)) is not None:
            raise error
        return compare(expected, *more)

    monkeypatch.setattr(at_parity, "compare", strict)
    spec = ExportSpec(checkpoint=str(chain.pruned), data=chain.data, precision="int8", format=form)
    sidecar = open_artefact(export(spec, tmp_path / "s").path).artefact
    assert sidecar.kept_fp32 == (head,)
    assert sidecar.layers["fp32"] >= 1
    assert sidecar.layers["int8"] == len(others) + (form == "openvino")  # the patch embedding


def test_at_most_half_of_the_layers_stay_fp32(
    chain: TinyChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = []

    def never(*arguments: object) -> object:
        raise ParityError("too far", 0)

    def counting(folder: Path, prepared: object, progress: object, keep: tuple[str, ...]) -> object:
        kept.append(len(keep))
        return write_files(folder, prepared, progress, keep)  # type: ignore[arg-type]

    monkeypatch.setattr(at_parity, "compare", never)
    monkeypatch.setattr(at_parity, "write_files", counting)
    spec = ExportSpec(checkpoint=str(chain.pruned), data=chain.data, precision="int8")
    with pytest.raises(DgpruneError, match="does not compute what PyTorch does: too far"):
        export(spec, tmp_path / "s")
    assert kept == [0, 1, 2, 4, 8]  # of 17
