"""A file that computes something else is refused, and the first wrong node is named."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

import export.write as write
from dgprune.errors import DgpruneError
from dgprune.models import Transformer
from export.export_checkpoint import export
from export.first_difference import first_difference
from export.inside import OpenVinoGraph, OrtGraph
from export.onnx_graph import OnnxGraph, onnx_graph
from export.shipped_model import shipped_model
from export.spec import ExportSpec
from tests.conftest import TinyChain

IMAGES = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)


def traced(model: Transformer) -> OnnxGraph:
    return onnx_graph(shipped_model(model), torch.zeros(2, 3, 32, 32), dynamic=True, opset=20)


def damage(graph: onnx.ModelProto, node_name: str) -> str:
    """Changes the weights of a node, and tells its output."""
    (node,) = [node for node in graph.graph.node if node.name == node_name]
    for tensor in graph.graph.initializer:
        if tensor.name == node.input[1]:
            wrong = numpy_helper.to_array(tensor) * 1.5
            tensor.CopyFrom(numpy_helper.from_array(wrong, tensor.name))
    return str(node.output[0])


def products(graph: onnx.ModelProto) -> list[str]:
    weights = {tensor.name for tensor in graph.graph.initializer}
    return [n.name for n in graph.graph.node if n.op_type == "MatMul" and n.input[1] in weights]


@pytest.mark.parametrize("place", [0, 7, -1])
def test_the_first_wrong_node_is_named(micro: Transformer, tmp_path: Path, place: int) -> None:
    good = traced(micro)
    bad = onnx.ModelProto()
    bad.CopyFrom(good.model)
    name = products(bad)[place]
    damage(bad, name)
    # The product itself has no name in PyTorch, which adds the bias in one step: the sum has.
    reader = {value: node for node in bad.graph.node for value in node.input}
    (output,) = [node.output[0] for node in bad.graph.node if node.name == name]
    expected = reader[output].name
    told = first_difference(OrtGraph(bad), good.program, IMAGES, "fp32")
    assert told.startswith(f"{expected} (Add, ")
    pytest.importorskip("openvino")
    onnx.save(bad, tmp_path / "bad.onnx")
    told = first_difference(OpenVinoGraph(tmp_path / "bad.onnx"), good.program, IMAGES, "fp32")
    assert reader[output].output[0] in told


def test_an_equal_graph_has_no_first_difference(micro: Transformer) -> None:
    good = traced(micro)
    assert first_difference(OrtGraph(good.model), good.program, IMAGES, "fp32") == ""


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_export_refuses_a_damaged_file_and_leaves_nothing(
    chain: TinyChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    inner = write._in_precision

    def damaged(good: write.Prepared, *rest: object) -> object:
        broken = onnx.ModelProto()
        broken.CopyFrom(good.traced.model)
        for name in products(broken):
            damage(broken, name)
        traced = OnnxGraph(model=broken, program=good.traced.program)
        return inner(replace(good, traced=traced), *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(write, "_in_precision", damaged)
    spec = ExportSpec(checkpoint=str(chain.dense), data=chain.data, precision=precision)  # type: ignore[arg-type]
    with pytest.raises(DgpruneError, match="not compute what PyTorch does.*differs: node_linear "):
        export(spec, tmp_path / "s")
    assert not (tmp_path / "s").exists()
