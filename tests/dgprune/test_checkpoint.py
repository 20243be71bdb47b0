"""Checkpoints: bit-equal in a fresh process, no pickle, every damage refused."""

import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

import dgprune
from dgprune.checkpoint import load_model, open_checkpoint
from dgprune.errors import DgpruneError
from dgprune.models import Transformer, create_timm
from dgprune.source import SourceSpec, open_source
from dgprune.weights import load_timm
from pruning.prune_checkpoint import prune
from pruning.spec import PruneSpec
from tests.conftest import MICRO, TinyChain

FRESH = """
import sys
sys.modules["torch_pruning"] = None  # its import fails, as where it is not installed
from pathlib import Path
import torch
torch.set_num_threads(1)
from dgprune.checkpoint import load_model, open_checkpoint
model = load_model(open_checkpoint(Path(sys.argv[1])))
torch.save(model(torch.ones(2, 3, 32, 32)).detach(), sys.argv[2])
"""


def test_a_fresh_process_without_torch_pruning_gives_the_same_bits(
    chain: TinyChain, tmp_path: Path
) -> None:
    expected = load_model(open_checkpoint(chain.pruned))(torch.ones(2, 3, 32, 32))
    subprocess.run(
        [sys.executable, "-c", FRESH, str(chain.pruned), str(tmp_path / "logits")], check=True
    )
    assert torch.equal(torch.load(tmp_path / "logits", weights_only=True), expected)


def test_digests_chain_back_to_the_first_weights(chain: TinyChain) -> None:
    dense, pruned = open_checkpoint(chain.dense).meta, open_checkpoint(chain.pruned).meta
    assert [step.stage for step in pruned.lineage] == ["source", "finetune", "prune"]
    assert pruned.lineage[:2] == dense.lineage
    assert pruned.digest == pruned.lineage[-1].digest
    assert chain.pruned.name.endswith(pruned.digest[:12])


def test_two_lines_give_a_model_back(chain: TinyChain) -> None:
    model = dgprune.load(str(chain.pruned))
    expected = load_model(open_checkpoint(chain.pruned))
    assert torch.equal(model(torch.ones(1, 3, 32, 32)), expected(torch.ones(1, 3, 32, 32)))
    weights = dgprune.timm_weights(chain.pruned)
    assert weights.keys() == expected.state_dict().keys()
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        dgprune.lode  # noqa: B018


def damaged(chain: TinyChain, tmp_path: Path) -> Path:
    copy = tmp_path / "copy"
    shutil.copytree(chain.pruned, copy)
    return copy


def test_truncated_weights_are_refused(chain: TinyChain, tmp_path: Path) -> None:
    copy = damaged(chain, tmp_path)
    data = (copy / "weights.safetensors").read_bytes()
    (copy / "weights.safetensors").write_bytes(data[:-7])
    with pytest.raises(DgpruneError, match="changed or torn"):
        open_checkpoint(copy)


def test_an_edited_structure_is_refused(chain: TinyChain, tmp_path: Path) -> None:
    copy = damaged(chain, tmp_path)
    text = (copy / "structure.json").read_text()
    (copy / "structure.json").write_text(text.replace('"num_heads":', '"num_heads": '))
    with pytest.raises(DgpruneError, match=r"structure\.json was changed"):
        open_checkpoint(copy)


@pytest.mark.parametrize(
    ("key", "value", "reason"), [("schema", 99, "schema 99"), ("surprise", 1, "was edited")]
)
def test_meta_of_another_version_is_refused(
    chain: TinyChain, tmp_path: Path, key: str, value: int, reason: str
) -> None:
    copy = damaged(chain, tmp_path)
    meta = json.loads((copy / "meta.json").read_text())
    (copy / "meta.json").write_text(json.dumps({**meta, key: value}))
    with pytest.raises(DgpruneError, match=reason):
        open_checkpoint(copy)


def test_a_missing_part_is_named(chain: TinyChain, tmp_path: Path) -> None:
    copy = damaged(chain, tmp_path)
    (copy / "structure.json").unlink()
    with pytest.raises(DgpruneError, match=r"structure\.json is missing"):
        open_checkpoint(copy)
    with pytest.raises(DgpruneError, match="not a checkpoint folder"):
        open_checkpoint(tmp_path / "nowhere")


def test_an_edited_held_out_domain_is_found(chain: TinyChain, tmp_path: Path) -> None:
    copy = damaged(chain, tmp_path)
    text = (copy / "meta.json").read_text()
    (copy / "meta.json").write_text(text.replace('"target":"domain2"', '"target":"domain1"'))
    with pytest.raises(DgpruneError, match=r"meta\.json was edited"):
        open_checkpoint(copy)


def test_a_damaged_checkpoint_is_not_taken_for_done(chain: TinyChain, tmp_path: Path) -> None:
    store = tmp_path / "store"
    source = SourceSpec(model=str(chain.dense), data=chain.data, target=chain.target)
    made = prune(source, PruneSpec(criterion="l2", ranking="global", refit=False), store).path
    assert not prune(source, PruneSpec(criterion="l2", ranking="global", refit=False), store).fresh
    (made / "weights.safetensors").write_bytes(b"cut")
    with pytest.raises(DgpruneError, match=f"remove {made} to have it made again"):
        prune(source, PruneSpec(criterion="l2", ranking="global", refit=False), store)


@pytest.mark.parametrize("change", [{"weights": "random"}, {"image_size": 32}])
def test_a_checkpoint_has_its_own_weights_and_size(
    chain: TinyChain, change: dict[str, str]
) -> None:
    spec = SourceSpec(model=str(chain.dense), data=chain.data, target=chain.target, **change)  # type: ignore[arg-type]
    with pytest.raises(DgpruneError, match="remove --weights and --image-size"):
        open_source(spec)


def test_weights_of_half_precision_are_loaded_in_single(micro: Transformer, tmp_path: Path) -> None:
    halves = {key: value.half() for key, value in micro.state_dict().items()}
    save_file(halves, tmp_path / "half.safetensors")
    file = str(tmp_path / "half.safetensors")
    model = load_timm(MICRO, file, num_classes=10, image_size=None, seed=0)
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
    torch.testing.assert_close(model.head.weight, micro.head.weight, atol=1e-3, rtol=1e-2)


def test_position_embeddings_follow_the_image_size(micro: Transformer, tmp_path: Path) -> None:
    save_file(micro.state_dict(), tmp_path / "w.safetensors")
    file = str(tmp_path / "w.safetensors")
    model = load_timm(MICRO, file, num_classes=3, image_size=16, seed=0)
    loaded, before = model.get_parameter, micro.get_parameter
    assert loaded("pos_embed").shape == (1, 17, 96)
    assert loaded("head.weight").shape == (3, 96)
    assert torch.equal(loaded("pos_embed")[:, :1], before("pos_embed")[:, :1])
    assert torch.equal(loaded("blocks.0.attn.qkv.weight"), before("blocks.0.attn.qkv.weight"))


@pytest.mark.parametrize("name", [MICRO, "vit_small_patch14_dinov2", "vit_base_patch16_224.mae"])
def test_weights_without_a_classifier_get_one_by_the_seed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small: dict[str, Any] = {} if name == MICRO else {"embed_dim": 64, "depth": 1, "num_heads": 4}
    monkeypatch.setattr(timm, "create_model", partial(timm.create_model, **small))
    given = create_timm(name, num_classes=0).state_dict()
    assert not any(key.startswith("head") for key in given)
    save_file(given, tmp_path / "w.safetensors")
    made = [
        load_timm(name, str(tmp_path / "w.safetensors"), num_classes=3, image_size=None, seed=seed)
        for seed in (0, 0, 1)
    ]
    heads = [model.get_parameter("head.weight") for model in made]
    assert heads[0].shape[0] == 3
    assert torch.equal(heads[0], heads[1]) and not torch.equal(heads[0], heads[2])
    assert torch.equal(
        made[0].get_parameter("blocks.0.attn.qkv.weight"), given["blocks.0.attn.qkv.weight"]
    )


@pytest.mark.parametrize("key", ["head.bias", "norm.weight"])
def test_weights_that_lack_any_other_part_are_refused(
    micro: Transformer, key: str, tmp_path: Path
) -> None:
    save_file({k: v for k, v in micro.state_dict().items() if k != key}, tmp_path / "w.safetensors")
    with pytest.raises(DgpruneError, match=f"{key} is missing; give the weights of that model"):
        load_timm(MICRO, str(tmp_path / "w.safetensors"), num_classes=3, image_size=None, seed=0)
