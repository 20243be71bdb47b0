"""The exported file: equal to PyTorch, whole, clean, and refused when it is not."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import dgprune
from dgprune.artefact import open_artefact
from dgprune.checkpoint import load_model, open_checkpoint
from dgprune.data import Sample, leave_one_out, open_data
from dgprune.errors import DgpruneError
from dgprune.models import Transformer, blocks_of, create, structure_of
from dgprune.records import RuntimeSpec
from dgprune.source import SourceSpec
from dgprune.structure import cost_of
from export.export_checkpoint import export, export_onnx
from export.onnx_graph import finish_graph, onnx_graph, require_weights
from export.parity import LADDER, ParityError, compare
from export.shipped_model import shipped_model
from export.spec import ExportSpec
from pruning.budgets import Budget, Limits
from pruning.criteria import score
from pruning.groups import trace_groups
from pruning.planning import make_plan
from pruning.prune_checkpoint import prune
from pruning.spec import PruneSpec
from pruning.surgery import apply_plan
from tests.conftest import MICRO, TinyChain
from tests.fakes.images import images_of


def logits_of(file: Path, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"images": images})[0])


def graph_of(model: Transformer, opset: int = 20) -> onnx.ModelProto:
    size = model.patch_embed.img_size
    example = torch.zeros(2, 3, *size)
    graph = onnx_graph(shipped_model(model), example, dynamic=True, opset=opset).model
    finish_graph(graph, {})
    return graph


def parity_of(model: Transformer, file: Path, images: np.ndarray) -> int:
    with torch.no_grad():
        expected = model(torch.from_numpy(images)).numpy()
    samples = tuple(Sample(key=str(i), domain="d", label=0) for i in range(len(images)))
    told = images_of(images, np.zeros(len(images), np.int64), samples)
    return compare(expected, logits_of(file, images), told, LADDER["fp32"], "").top1_agreements


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_the_dynamic_file_equals_pytorch_at_every_batch(chain: TinyChain, batch: int) -> None:
    images = np.random.default_rng(0).normal(size=(batch, 3, 32, 32)).astype(np.float32)
    model = load_model(open_checkpoint(chain.pruned))
    expected = model(torch.from_numpy(images)).detach().numpy()
    found = logits_of(chain.pruned_artefact / "model.fp32.onnx", images)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_sidecar_tells_what_the_file_is(chain: TinyChain) -> None:
    opened = open_artefact(chain.pruned_artefact)
    sidecar = opened.artefact
    assert (sidecar.format, sidecar.precision, sidecar.opset) == ("onnx", "fp32", 20)
    assert [step.stage for step in sidecar.lineage] == ["source", "finetune", "prune", "export"]
    assert sidecar.structure == open_checkpoint(chain.pruned).structure
    assert sidecar.parity.top1_agreements == sidecar.parity.images == 4
    assert sidecar.size_bytes == opened.file.stat().st_size


def test_the_file_is_usable_alone(chain: TinyChain) -> None:
    graph = onnx.load(chain.pruned_artefact / "model.fp32.onnx")
    metadata = {entry.key: entry.value for entry in graph.metadata_props}
    assert json.loads(metadata["dgprune.classes"]) == ["class0", "class1"]
    assert json.loads(metadata["dgprune.preprocessing"])["image_size"] == 32
    assert [entry.version for entry in graph.opset_import if entry.domain == ""] == [20]
    assert sum(node.op_type == "LayerNormalization" for node in graph.graph.node) == 9


def test_the_pruned_weights_alone_are_in_the_file(chain: TinyChain) -> None:
    graph = onnx.load(chain.pruned_artefact / "model.fp32.onnx")
    parameters = cost_of(open_checkpoint(chain.pruned).structure).parameters
    require_weights(graph, parameters)
    for wrong in (parameters // 2, parameters * 2):
        with pytest.raises(DgpruneError, match="not exported whole"):
            require_weights(graph, wrong)


def test_the_file_holds_no_path_of_this_machine(chain: TinyChain) -> None:
    for file in chain.pruned_artefact.iterdir():
        assert not re.search(rb"/(home|root|tmp|usr|work)/|\.py\b", file.read_bytes()), file.name


def test_a_static_batch_takes_that_batch_only(chain: TinyChain, tmp_path: Path) -> None:
    spec = ExportSpec(checkpoint=str(chain.pruned), data=chain.data, batch="3", parity_images=2)
    file = export(spec, tmp_path / "out").path / "model.fp32.onnx"
    assert logits_of(file, np.zeros((3, 3, 32, 32), np.float32)).shape == (3, 2)
    with pytest.raises(Exception, match="batch|dimension|Expected"):
        logits_of(file, np.zeros((2, 3, 32, 32), np.float32))


def test_a_repeated_class_token_is_not_taken_for_weights(micro: Transformer) -> None:
    example = torch.zeros(64, 3, 32, 32)
    graph = onnx_graph(shipped_model(micro), example, dynamic=False, opset=20).model
    parameters = cost_of(structure_of(micro, "vit_micro_patch4_32")).parameters
    require_weights(graph, parameters, folded=64 * micro.embed_dim)


def test_the_opset_flag_reaches_the_file(micro: Transformer) -> None:
    graph = graph_of(micro, opset=18)
    assert [entry.version for entry in graph.opset_import if entry.domain == ""] == [18]


def test_parity_refuses_a_file_of_other_weights(micro: Transformer, tmp_path: Path) -> None:
    images = np.zeros((4, 3, 32, 32), np.float32)
    file = tmp_path / "other.onnx"
    file.write_bytes(graph_of(micro).SerializeToString())
    assert parity_of(micro, file, images) == 4
    with torch.no_grad():
        micro.get_parameter("head.bias")[0] += 0.01
    with pytest.raises(ParityError, match="a logit differs by"):
        parity_of(micro, file, images)


def test_parity_refuses_what_is_not_a_number(micro: Transformer, tmp_path: Path) -> None:
    with torch.no_grad():
        micro.get_parameter("norm.weight")[0] = float("nan")
    file = tmp_path / "nan.onnx"
    file.write_bytes(graph_of(micro).SerializeToString())
    with pytest.raises(ParityError, match="an output of PyTorch is NaN"):
        parity_of(micro, file, np.zeros((2, 3, 32, 32), np.float32))


def test_parity_with_fewer_readable_images_than_a_batch_is_one_line(
    chain: TinyChain, tmp_path: Path
) -> None:
    folder = tmp_path / Path(chain.data).name
    shutil.copytree(chain.data, folder)
    validation = leave_one_out(open_data(str(folder)), chain.target).validation
    damaged = folder / validation[0].key
    size = damaged.stat().st_size
    damaged.write_bytes(bytes(size))  # which changes no digest of the data set
    spec = ExportSpec(
        checkpoint=str(chain.pruned),
        data=str(folder),
        batch=str(len(validation)),
        skip_bad_images=True,
    )
    with pytest.raises(DgpruneError, match=r"images of parity could be read; .* lower --batch"):
        export(spec, tmp_path / "out")


@pytest.mark.parametrize("batch", ["0", "many", "-1"])
def test_a_batch_that_is_none_is_refused(batch: str) -> None:
    with pytest.raises(DgpruneError, match="--batch"):
        ExportSpec(checkpoint="", data="", batch=batch)


def test_a_pruned_beit_is_exported_whole(tmp_path: Path) -> None:
    name = "beit_base_patch16_224"
    torch.manual_seed(0)
    model = create(name, num_classes=3, image_size=32)
    for block in blocks_of(model):  # timm starts the position tables at 0, which would hide errors
        torch.nn.init.normal_(block.attn.relative_position_bias_table)
    scores = score(trace_groups(model), "random", None, seed=0)
    budget = Budget(kind="ratio", value=0.9)
    plan = make_plan(scores, structure_of(model, name), "local", budget, Limits())
    pruned = apply_plan(model, plan, name)
    file = tmp_path / "beit.onnx"
    file.write_bytes(graph_of(pruned).SerializeToString())
    images = np.random.default_rng(0).normal(size=(4, 3, 32, 32)).astype(np.float32)
    assert parity_of(pruned, file, images) == 4


def test_the_python_api_exports_and_runs(chain: TinyChain, tmp_path: Path) -> None:
    spec = ExportSpec(checkpoint="", data=chain.data, format="openvino")  # both are overruled
    artefact = export_onnx(chain.pruned, spec, tmp_path / "s")
    assert (artefact.artefact.format, artefact.file.name) == ("onnx", "model.fp32.onnx")
    images = np.zeros((2, 3, 32, 32), np.float32)
    runtime = RuntimeSpec(name="onnxruntime", provider="cpu", threads=1)
    with dgprune.open_runtime(artefact, runtime) as loaded:
        loaded.bind([images])
        loaded.infer(0)
        np.testing.assert_allclose(loaded.output(0), logits_of(artefact.file, images), atol=1e-5)


def test_a_model_of_random_weights_is_exported_without_its_zero_biases(
    chain: TinyChain, tmp_path: Path
) -> None:
    source = SourceSpec(model=MICRO, weights="random", data=chain.data, target=chain.target)
    random = prune(
        source,
        PruneSpec(
            criterion="l2", budget=Budget(kind="ratio", value=0.0), ranking="global", refit=False
        ),
        tmp_path / "s",
    ).path
    folder = export(ExportSpec(checkpoint=str(random), data=chain.data), tmp_path / "s").path
    parity = open_artefact(folder).artefact.parity
    assert parity.images == parity.top1_agreements == 4


def test_zeros_excuse_no_more_than_zeros() -> None:
    graph = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 20]>
        g (float[n, 2] x) => (float[n, 2] y) <float[2, 2] w = {1, 2, 3, 4}> { y = MatMul(x, w) }"""
    )
    require_weights(graph, 6, zeros=2)
    with pytest.raises(DgpruneError, match="holds 4 weights, the pruned model 7"):
        require_weights(graph, 7, zeros=2)
