"""Every criterion against its formula, computed the slow way."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional

from dgprune.errors import DgpruneError
from dgprune.models import Transformer, blocks_of, create, set_fused_attention
from pruning.criteria import CRITERIA, Calibration, score
from pruning.gates import gate_fisher
from pruning.groups import trace_groups
from pruning.per_sample import gradient_moments
from tests.conftest import MICRO

FAMILIES = [
    MICRO,
    "deit_tiny_distilled_patch16_224",
    "deit3_small_patch16_224",
    "vit_medium_patch16_reg1_gap_256",
    "beit_base_patch16_224",
]


@pytest.fixture
def calibration() -> Calibration:
    generator = torch.Generator().manual_seed(3)
    return Calibration(
        inputs=torch.randn(19, 3, 32, 32, generator=generator),
        labels=torch.randint(0, 10, (19,), generator=generator),
    )


@pytest.mark.parametrize("second_order", [True, False])
@pytest.mark.parametrize("name", FAMILIES)
def test_moments_equal_the_loop_of_one_sample_at_a_time(
    calibration: Calibration, second_order: bool, name: str
) -> None:
    torch.manual_seed(0)
    model = create(name, num_classes=10, image_size=32)
    inputs, labels = calibration.inputs, calibration.labels
    found = gradient_moments(model, inputs, labels, second_order=second_order)
    slow = {key: torch.zeros_like(p) for key, p in model.named_parameters() if key in found}
    for image, label in zip(inputs, labels, strict=True):
        model.zero_grad()
        functional.cross_entropy(model(image[None]), label[None]).backward()
        for key, parameter in model.named_parameters():
            gradient = parameter.grad
            assert gradient is not None
            if key in found:
                slow[key] += gradient.square() if second_order else gradient.abs()
    left_out = {key.split(".")[-1] for key, _ in model.named_parameters() if key not in found}
    assert left_out <= {
        "cls_token",
        "dist_token",
        "reg_token",
        "pos_embed",
        "gamma",
        "relative_position_bias_table",
    }
    for name, total in slow.items():
        expected = total / len(calibration.labels)
        error = (found[name] - expected).norm() / expected.norm().clamp_min(1e-30)
        assert error < 1e-4, name


def test_scores_sum_over_the_whole_group(micro: Transformer) -> None:
    scores = score(trace_groups(micro), "l1", None, seed=0)
    block = blocks_of(micro)[1]
    rows = block.attn.qkv.weight.abs().sum(1) + block.attn.qkv.bias.abs()
    channels = rows.view(3, 96).sum(0) + block.attn.proj.weight.abs().sum(0)
    units = block.mlp.fc1.weight.abs().sum(1) + block.mlp.fc1.bias.abs()
    units = units + block.mlp.fc2.weight.abs().sum(0)
    attention = (scores.qk[1] + scores.value[1]).reshape(-1)
    np.testing.assert_allclose(attention, channels.detach().numpy(), rtol=1e-5)
    np.testing.assert_allclose(scores.mlp[1], units.detach().numpy(), rtol=1e-5)


def test_width_scores_cover_every_layer_on_the_residual_stream(micro: Transformer) -> None:
    scores = score(trace_groups(micro), "l1", None, seed=0)
    total = torch.zeros(96)
    for name, parameter in micro.named_parameters():
        value = parameter.detach().abs()
        if "norm" in name:
            total += value
        elif name.endswith(("qkv.weight", "fc1.weight", "head.weight")):
            total += value.sum(0)
        elif name.endswith(("proj.weight", "fc2.weight")):
            total += value.flatten(1).sum(1)
        elif name.endswith(("proj.bias", "fc2.bias")):
            total += value
    np.testing.assert_allclose(scores.width, total.numpy(), rtol=1e-4)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_every_criterion_scores_every_unit(
    micro: Transformer, calibration: Calibration, criterion: str
) -> None:
    scores = score(trace_groups(micro), criterion, calibration, seed=0)  # type: ignore[arg-type]
    assert scores.width.shape == (96,)
    assert [a.shape for a in (*scores.qk, *scores.value)] == [(4, 24)] * 8
    assert [m.shape for m in scores.mlp] == [(384,)] * 4
    assert all((part > 0).all() for part in (scores.width, *scores.qk, *scores.value, *scores.mlp))


def test_random_follows_its_seed(micro: Transformer) -> None:
    groups = trace_groups(micro)
    one, again, other = (score(groups, "random", None, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one.width, again.width)
    assert not np.array_equal(one.width, other.width)


def test_gradient_criteria_refuse_to_run_without_images(micro: Transformer) -> None:
    with pytest.raises(DgpruneError, match="hessian needs images"):
        score(trace_groups(micro), "hessian", None, seed=0)


def test_gate_fisher_equals_gates_differentiated_one_sample_at_a_time(
    micro: Transformer, calibration: Calibration
) -> None:
    set_fused_attention(micro, False)
    found = gate_fisher(micro, calibration.inputs, calibration.labels)
    slow = [torch.zeros(96), torch.zeros(96), torch.zeros(384), torch.zeros(96)]
    block = blocks_of(micro)[1]
    for image, label in zip(calibration.inputs, calibration.labels, strict=True):
        gates = [torch.ones_like(total).requires_grad_(True) for total in slow]
        qk, value, mlp, width = gates

        def gated_qkv(module: object, inputs: object, out: torch.Tensor) -> torch.Tensor:
            return out * torch.cat([qk, torch.ones(96), value])  # noqa: B023

        def gated_mlp(module: object, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
            return (inputs[0] * mlp,)  # noqa: B023

        def gated_width(module: object, inputs: object, out: torch.Tensor) -> torch.Tensor:
            return out * width  # noqa: B023

        handles = [
            block.attn.qkv.register_forward_hook(gated_qkv),
            block.mlp.fc2.register_forward_pre_hook(gated_mlp),
            micro.pos_drop.register_forward_hook(gated_width),
        ]
        for one in blocks_of(micro):
            handles.append(one.drop_path1.register_forward_hook(gated_width))
            handles.append(one.drop_path2.register_forward_hook(gated_width))
        loss = functional.cross_entropy(micro(image[None]), label[None])
        for total, gradient in zip(slow, torch.autograd.grad(loss, gates), strict=True):
            total += gradient.square()
        for handle in handles:
            handle.remove()
    parts = (found.qk[1].reshape(-1), found.value[1].reshape(-1), found.mlp[1], found.width)
    for part, total in zip(parts, slow, strict=True):
        np.testing.assert_allclose(part, total.numpy(), rtol=1e-3, atol=1e-9)


def test_gate_fisher_changes_neither_weights_nor_what_needs_gradients(
    micro: Transformer, calibration: Calibration
) -> None:
    micro.head.requires_grad_(False)
    before = {key: value.clone() for key, value in micro.state_dict().items()}
    gate_fisher(micro, calibration.inputs, calibration.labels)
    assert all(torch.equal(before[key], value) for key, value in micro.state_dict().items())
    assert {p.requires_grad for p in micro.head.parameters()} == {False}
    assert all(p.requires_grad for p in micro.blocks.parameters())
    assert all(p.grad is None for p in micro.parameters())


@pytest.mark.parametrize("criterion", ["l1", "l2"])
def test_a_layer_scale_counts_as_part_of_the_weights_before_it(criterion: str) -> None:
    """The score must not depend on whether gamma is apart or folded into proj and fc2."""
    torch.manual_seed(0)
    apart = create("deit3_small_patch16_224", num_classes=10, image_size=32)
    folded = copy.deepcopy(apart)
    with torch.no_grad():
        for one, other in zip(blocks_of(apart), blocks_of(folded), strict=True):
            for name, layer in (("ls1", other.attn.proj), ("ls2", other.mlp.fc2)):
                gamma = torch.rand(384) * 3 - 1
                getattr(one, name).gamma.copy_(gamma)
                getattr(other, name).gamma.fill_(1.0)
                layer.weight.mul_(gamma[:, None])
                layer.bias.mul_(gamma)
    found, expected = (
        score(trace_groups(model), criterion, None, seed=0)  # type: ignore[arg-type]
        for model in (apart, folded)
    )
    np.testing.assert_allclose(found.width, expected.width, rtol=1e-5)
    for part, other_part in zip(found.mlp, expected.mlp, strict=True):
        np.testing.assert_allclose(part, other_part, rtol=1e-5)
