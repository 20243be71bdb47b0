"""Node times of each runtime: fused, nameless and quantised nodes are told apart."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dgprune.artefact import OpenArtefact, open_artefact
from dgprune.errors import DgpruneError
from dgprune.models import create
from dgprune.node_times import NodeTime, seconds_by_kind
from dgprune.records import RuntimeSpec
from dgprune.runtimes.onnxruntime_profile import node_times
from dgprune.runtimes.opening import open_node_timer
from dgprune.runtimes.openvino import mean_ns
from export.export_checkpoint import export
from export.onnx_graph import onnx_graph
from export.shipped_model import shipped_model
from export.spec import ExportSpec
from tests.conftest import TinyChain

RUNTIMES = ("onnxruntime", "openvino")


def timed(opened: OpenArtefact, spec: RuntimeSpec, calls: int) -> tuple[NodeTime, ...]:
    size = opened.artefact.origin.preprocessing.image_size
    images = np.random.default_rng(0).normal(size=(1, 3, size, size)).astype(np.float32)
    with open_node_timer(opened, spec) as timer:
        timer.profile()
        timer.bind([images])
        for _ in range(calls):
            timer.infer(0)
        return timer.node_times(2)


def ops_by_kind(nodes: Sequence[NodeTime]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for node in nodes:
        found[node.kind].add(node.op)
    return found


def require_told_apart(nodes: Sequence[NodeTime], blocks: int) -> None:
    """95 % of the time has a kind, and what only one kind does is in that kind."""
    times = seconds_by_kind(nodes)
    assert times["other"] <= 0.05 * sum(times.values())
    assert min(times["attention"], times["mlp"]) > 0
    ops = ops_by_kind(nodes)
    for kind, found in ops.items():
        if any("Softmax" in op for op in found):
            assert kind == "attention"
        if any("Gelu" in op for op in found):
            assert kind == "mlp"
        if any("Conv" in op for op in found):
            assert kind in ("embedding", "mlp", "attention")  # a product may run as one of 1x1
    norms = [node for node in nodes if "LayerNorm" in node.op or node.op == "MVN"]
    assert {node.kind for node in norms} <= {"norm"}
    assert len(norms) <= 2 * blocks + 1  # one that takes no microsecond goes untold


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_fused_and_quantised_nodes_are_told_apart(
    chain: TinyChain, tmp_path: Path, runtime: str, precision: str
) -> None:
    pytest.importorskip(runtime)
    given = ExportSpec(
        checkpoint=str(chain.dense),
        data=chain.data,
        precision=precision,  # type: ignore[arg-type]
        calibration_images=8,
        parity_images=2,
    )
    opened = open_artefact(export(given, tmp_path / "out").path)
    spec = RuntimeSpec(name=runtime, provider="cpu", threads=1, allow_fallback=True)
    require_told_apart(timed(opened, spec, calls=6), blocks=4)


def test_openvinos_own_file_is_told_apart(chain: TinyChain, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    given = ExportSpec(checkpoint=str(chain.pruned), data=chain.data, format="openvino")
    opened = open_artefact(export(given, tmp_path / "out").path)
    spec = RuntimeSpec(name="openvino", provider="cpu", threads=1)
    nodes = timed(opened, spec, calls=6)
    require_told_apart(nodes, blocks=4)
    assert {len(node.durations_ns) for node in nodes} == {1}  # it tells a mean only


def test_nodes_without_a_name_are_told_apart(chain: TinyChain, tmp_path: Path) -> None:
    """An fp16 softmax and GELU run in nameless parts on ONNX Runtime's CPU."""
    given = ExportSpec(checkpoint=str(chain.dense), data=chain.data, precision="fp16")
    opened = open_artefact(export(given, tmp_path / "out").path)
    spec = RuntimeSpec(name="onnxruntime", provider="cpu", threads=1, allow_fallback=True)
    nodes = timed(opened, spec, calls=4)
    ops = ops_by_kind(nodes)
    assert "Exp" in ops["attention"] and "Erf" in ops["mlp"]
    assert "Exp" not in ops["mlp"] and "Erf" not in ops["attention"] and not ops["other"]


@pytest.mark.parametrize("name", ["deit_tiny_distilled_patch16_224", "beit_base_patch16_224"])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_other_architectures_are_told_apart(
    chain: TinyChain, tmp_path: Path, name: str, runtime: str
) -> None:
    pytest.importorskip(runtime)
    torch.manual_seed(0)
    model = create(name, num_classes=3, image_size=32)
    del model.blocks[2:]
    graph = onnx_graph(shipped_model(model), torch.zeros(2, 3, 32, 32), dynamic=True, opset=20)
    file = tmp_path / "model.onnx"
    file.write_bytes(graph.model.SerializeToString())
    opened = replace(open_artefact(chain.dense_artefact), file=file)
    spec = RuntimeSpec(name=runtime, provider="cpu", threads=1)
    require_told_apart(timed(opened, spec, calls=6), blocks=2)


def test_a_running_mean_gives_the_mean_without_the_warm_up() -> None:
    calls_us = [900, 300, 100, 104, 96, 100]
    means = [sum(calls_us[: n + 1]) // (n + 1) for n in range(len(calls_us))]
    found_ns = mean_ns(means, skip=2)
    assert found_ns == pytest.approx(100_000, abs=1000 * len(calls_us) / 4)


def test_a_call_that_was_held_up_is_left_out_of_a_mean() -> None:
    calls_us = [100] * 20
    calls_us[12] = 8_100
    means = [sum(calls_us[: n + 1]) // (n + 1) for n in range(len(calls_us))]
    assert mean_ns(means, skip=5) == pytest.approx(100_000, abs=2_000)


def test_a_profile_that_lost_a_call_is_refused() -> None:
    told = {"op_name": "Add", "node_index": "0"}
    event = {"cat": "Node", "name": "a_kernel_time", "dur": 3, "args": told}
    (found,) = node_times([event, event], {"a": "mlp"}, calls=2, skip=1)
    assert (found.kind, found.durations_ns) == ("mlp", (3000,))
    with pytest.raises(DgpruneError, match="does not hold 3 calls of every node"):
        node_times([event, event], {"a": "mlp"}, calls=3, skip=1)
