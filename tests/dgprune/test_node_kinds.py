"""What a node is for, against the names of the weights that it uses, where the file kept them."""

import re
from collections import Counter
from pathlib import Path

import onnx
import pytest
import torch

from dgprune.models import Transformer, blocks_of, create
from dgprune.node_kinds import (
    KINDS,
    Kind,
    Node,
    kinds_of_executed,
    kinds_of_nodes,
    nodes_of_onnx,
    nodes_of_openvino,
)
from export.onnx_graph import onnx_graph
from export.shipped_model import shipped_model

MODELS = ("vit_micro_patch4_32", "deit_tiny_distilled_patch16_224", "beit_base_patch16_224")
OWNERS: tuple[tuple[str, Kind], ...] = (
    (r"^(blocks\.\d+\.|fc_)?norm\d?\.(weight|bias)$", "norm"),
    (r"^blocks\.\d+\.attn\.", "attention"),
    (r"^blocks\.\d+\.mlp\.", "mlp"),
    (r"^(patch_embed\.|cls_token|dist_token|pos_embed)", "embedding"),
    (r"^head", "head"),
)


def owner_of(weight: str) -> Kind | None:
    return next((kind for pattern, kind in OWNERS if re.match(pattern, weight)), None)


@pytest.fixture(scope="module", params=MODELS)
def graph(request: pytest.FixtureRequest) -> onnx.ModelProto:
    torch.manual_seed(0)
    model: Transformer = create(request.param, num_classes=3, image_size=32)
    with torch.no_grad():  # equal weights would be stored once, under one name
        for parameter in model.parameters():
            parameter.normal_(std=0.02)
    del model.blocks[3:]
    assert len(blocks_of(model)) == 3
    example = torch.zeros(2, 3, 32, 32)
    return onnx_graph(shipped_model(model), example, dynamic=True, opset=20).model


def agreements(nodes: list[Node], weights: dict[str, str]) -> Counter[Kind]:
    """Uses of named weights by kind, every one of which must be in a node of that kind."""
    kinds, seen = kinds_of_nodes(nodes), Counter[Kind]()
    for node in nodes:
        for name in node.inputs:
            expected = owner_of(weights.get(name, ""))
            if expected is not None:
                assert kinds[node.name] == expected, (node.name, node.op, weights[name])
                seen[expected] += 1
    return seen


def test_every_node_has_the_kind_of_its_weights(graph: onnx.ModelProto) -> None:
    nodes = nodes_of_onnx(graph.graph)
    seen = agreements(nodes, {tensor.name: tensor.name for tensor in graph.graph.initializer})
    assert set(seen) == set(KINDS) - {"other"}
    assert seen["norm"] == 2 * (2 * 3 + 1)
    assert "other" not in kinds_of_nodes(nodes).values()


def test_openvino_reads_the_same_kinds(graph: onnx.ModelProto) -> None:
    openvino = pytest.importorskip("openvino")
    nodes = nodes_of_openvino(openvino.Core().read_model(graph.SerializeToString()))
    constants = {n.outputs[0]: n.name for n in nodes if n.op == "Constant"}
    seen = agreements(nodes, constants)
    assert seen["norm"] == 2 * (2 * 3 + 1) and seen["attention"] >= 2 * 3 and seen["mlp"] >= 2 * 3
    mine, onnx_kinds = kinds_of_nodes(nodes), kinds_of_nodes(nodes_of_onnx(graph.graph))
    shared = {node.output[0] for node in graph.graph.node} & mine.keys()
    assert len(shared) > 50
    assert {name: mine[name] for name in shared} == {name: onnx_kinds[name] for name in shared}


def node(name: str, op: str, *inputs: str, aliases: tuple[str, ...] = ()) -> Node:
    return Node(name=name, op=op, inputs=inputs, outputs=(f"{name}.out",), aliases=aliases)


def test_a_norm_inside_of_attention_and_a_softmax_at_the_end_cut_nothing_off() -> None:
    nodes = [
        node("images", "Parameter"),
        node("patches", "Conv", "images.out"),
        node("norm1", "LayerNormalization", "patches.out"),
        node("qkv", "MatMul", "norm1.out"),
        node("qnorm", "LayerNormalization", "qkv.out"),
        node("weights", "Softmax", "qnorm.out"),
        node("sum1", "Add", "patches.out", "weights.out"),
        node("norm2", "LayerNormalization", "sum1.out"),
        node("unpack", "DequantizeLinear", "fc1"),
        node("fc1", "MatMul", "norm2.out", "unpack.out"),
        node("act", "Gelu", "fc1.out"),
        node("sum2", "Add", "sum1.out", "act.out"),
        node("pool", "ReduceMean", "sum2.out"),
        node("norm", "LayerNormalization", "pool.out"),
        node("head", "Gemm", "norm.out"),
        node("probabilities", "Softmax", "head.out"),
    ]
    kinds = kinds_of_nodes(nodes)
    assert [kinds[n.name] for n in nodes] == [
        *("embedding", "embedding", "norm", "attention", "norm", "attention", "attention"),
        *("norm", "mlp", "mlp", "mlp", "mlp", "head", "norm", "head", "head"),
    ]


def test_a_graph_without_norms_is_not_guessed_at() -> None:
    nodes = [node("images", "Parameter"), node("conv", "Conv", "images.out")]
    assert set(kinds_of_nodes(nodes).values()) == {"other"}


def test_what_is_executed_is_known_by_tensor_by_origin_or_by_what_it_feeds() -> None:
    known: dict[str, Kind] = {"sum.out": "attention", "gelu": "mlp", "bias": "mlp", "ln": "norm"}
    executed = [
        node("reorder", "Reorder", "input"),
        node("sum", "FusedAdd", "reorder.out"),
        node("fused", "Subgraph", "sum.out", aliases=("gelu", "ln", "bias")),
        node("last", "Reorder", "fused.out"),
        node("alone", "Reorder", "nothing"),
    ]
    assert kinds_of_executed(executed, known) == {
        "reorder": "attention",
        "sum": "attention",
        "fused": "mlp",
        "last": "mlp",
        "alone": "other",
    }


def test_what_openvino_keeps_beside_a_model_changes_no_kind(
    graph: onnx.ModelProto, tmp_path: Path
) -> None:
    openvino = pytest.importorskip("openvino")
    model = openvino.Core().read_model(graph.SerializeToString())
    openvino.save_model(model, tmp_path / "model.xml")
    again = openvino.Core().read_model(tmp_path / "model.xml")
    before = kinds_of_nodes(nodes_of_openvino(model))
    after = kinds_of_nodes(nodes_of_openvino(again))
    shared = before.keys() & after.keys()
    assert len(shared) > 50 and all(before[name] == after[name] for name in shared)
