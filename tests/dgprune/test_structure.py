"""The analytic cost against PyTorch's own counters; rebuilding against the original."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

from dgprune.errors import DgpruneError
from dgprune.models import (
    Transformer,
    bare_model,
    create,
    preprocessing_of,
    rebuild,
    set_fused_attention,
    structure_of,
)
from dgprune.structure import cost_of
from dgprune.timm_models import create_timm
from dgprune.weights import _require_safetensors_of_hub, load_timm

MODELS = [
    "vit_micro_patch4_32",
    "vit_tiny_patch16_224",
    "deit_tiny_distilled_patch16_224",
    "deit3_small_patch16_224",
    "vit_medium_patch16_reg1_gap_256",
    "beit_base_patch16_224",
    "beitv2_base_patch16_224",
]


@pytest.mark.parametrize("name", MODELS)
def test_cost_equals_an_independent_counter(name: str) -> None:
    model = create(name, num_classes=7, image_size=64)
    structure = structure_of(model, name)
    set_fused_attention(model, False)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, 64, 64))
    assert cost_of(structure).macs_per_image * 2 == counter.get_total_flops()
    assert cost_of(structure).parameters == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", MODELS)
def test_rebuild_gives_the_same_bits(name: str) -> None:
    model = create(name, num_classes=7, image_size=64)
    again = rebuild(structure_of(model, name), model.state_dict())
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(model(images), again(images))


def test_weights_of_another_structure_are_refused(micro: Transformer) -> None:
    state = dict(micro.state_dict())
    state["norm.weight"] = torch.ones(95)
    with pytest.raises(DgpruneError, match=r"weights do not fit.*norm\.weight"):
        rebuild(structure_of(micro, "vit_micro_patch4_32"), state)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("resnet50", "no supported family"),
        ("vit_tiny_patch16_22", "did you mean 'vit_tiny_patch16_224'"),
        ("vit_base_patch16_clip_224", "cannot be pruned yet"),
        ("vit_small_patch16_18x2_224", "cannot be pruned yet"),
    ],
)
def test_unsupported_models_are_refused(name: str, reason: str) -> None:
    with pytest.raises(DgpruneError, match=reason):
        create(name, num_classes=7, image_size=None)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "vit_tiny_patch16_224.augreg_in1k",
            "did you mean 'augreg_in21k'.*; give vit_tiny_patch16",
        ),
        ("vit_tiny_patch16_224.nosuch", "with one of: augreg_in21k, augreg_in21k_ft_in1k"),
        ("vit_micro_patch4_32.nosuch", "give vit_micro_patch4_32 alone, or with one of: none"),
    ],
)
def test_an_unknown_tag_names_those_that_are_known(name: str, says: str) -> None:
    with pytest.raises(DgpruneError, match=says):
        bare_model(name)


def test_a_known_tag_is_a_name() -> None:
    assert bare_model("vit_tiny_patch16_224.augreg_in21k").embed_dim == 192


def test_preprocessing_is_the_models_own() -> None:
    vit = preprocessing_of(create("vit_tiny_patch16_224", num_classes=7, image_size=64), 64)
    deit = preprocessing_of(create("deit_tiny_patch16_224", num_classes=7, image_size=64), 64)
    assert vit.mean == (0.5, 0.5, 0.5)
    assert deit.mean == (0.485, 0.456, 0.406)
    assert (vit.image_size, vit.interpolation) == (64, "bicubic")


def test_a_hub_that_does_not_answer_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*arguments: object, **options: object) -> None:
        raise OSError("cannot reach the hub\nand a second line")

    monkeypatch.setattr("dgprune.weights.create_timm", no_network)
    with pytest.raises(DgpruneError, match=r"no weights for .* \(cannot reach the hub\); pass"):
        load_timm("deit_tiny_patch16_224", "pretrained", num_classes=3, image_size=None, seed=0)


def test_of_a_repository_only_safetensors_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """timm takes a pickle where there are none."""
    asked: list[str] = []

    def download(*arguments: object, filename: str, **options: object) -> str:
        asked.append(filename)
        raise OSError("no such entry")

    monkeypatch.setattr("timm.models._hub.hf_hub_download", download)
    with pytest.raises(DgpruneError, match=r"no weights for .* \(no such entry\)"):
        load_timm("deit_tiny_patch16_224", "pretrained", num_classes=3, image_size=None, seed=0)
    assert asked == ["model.safetensors"]


def test_weights_of_the_hub_are_those_of_its_safetensors(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    torch.manual_seed(3)
    own = create_timm("deit_tiny_patch16_224")
    save_file(own.state_dict(), tmp_path / "model.safetensors")
    answer = str(tmp_path / "model.safetensors")
    monkeypatch.setattr("timm.models._hub.hf_hub_download", lambda *_, **__: answer)
    model = load_timm("deit_tiny_patch16_224", "pretrained", num_classes=3, image_size=112, seed=0)
    key = "blocks.3.mlp.fc1.weight"
    assert torch.equal(model.get_parameter(key), own.get_parameter(key))


def test_weights_that_are_a_pickle_only_are_refused() -> None:
    name = "vit_huge_patch14_gap_224.in1k_ijepa"
    with pytest.raises(DgpruneError, match=r"no safetensors of .*--weights FILE\.safetensors"):
        _require_safetensors_of_hub(name)


@pytest.mark.parametrize(
    "name",
    [
        "vit_dwee_patch16_reg1_gap_256",  # another attention
        "vit_so150m_patch16_reg4_map_256",  # attention pooling
        "vit_base_patch16_rpn_224",  # norms behind the layers
        "vit_base_mci_224",  # a stem of convolutions
        "vit_base_patch16_siglip_gap_224",  # no classifier in timm
        "vit_small_patch14_dinov2",
        "vit_so400m_patch14_siglip_gap_384",  # 384 is no multiple of 14
    ],
)
def test_what_cannot_be_pruned_is_refused_in_one_line(name: str) -> None:
    try:
        assert bare_model(name).num_classes == 1
    except DgpruneError as error:
        assert name in str(error) or "not prunable" in str(error)
