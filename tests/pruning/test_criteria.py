"""Every criterion against its formula, computed the slow way."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from dgprune.errors import DgpruneError
from dgprune.models import VisionTransformer, blocks_of, set_fused_attention
from pruning.criteria import CRITERIA, Calibration, gradient_moments, score
from pruning.groups import trace_groups


@pytest.fixture
def calibration() -> Calibration:
    generator = torch.Generator().manual_seed(3)
    return Calibration(
        inputs=torch.randn(19, 3, 32, 32, generator=generator),
        labels=torch.randint(0, 10, (19,), generator=generator),
    )


@pytest.mark.parametrize("second_order", [True, False])
def test_moments_equal_the_loop_of_one_sample_at_a_time(
    micro: VisionTransformer, calibration: Calibration, second_order: bool
) -> None:
    set_fused_attention(micro, False)
    found = gradient_moments(micro, calibration, second_order=second_order)
    slow = {name: torch.zeros_like(p) for name, p in micro.named_parameters()}
    for image, label in zip(calibration.inputs, calibration.labels, strict=True):
        micro.zero_grad()
        functional.cross_entropy(micro(image[None]), label[None]).backward()
        for name, parameter in micro.named_parameters():
            assert parameter.grad is not None
            gradient = parameter.grad
            slow[name] += gradient.square() if second_order else gradient.abs()
    for name, total in slow.items():
        expected = total / len(calibration.labels)
        error = (found[name] - expected).norm() / expected.norm().clamp_min(1e-30)
        assert error < 1e-4, name


def test_scores_sum_over_the_whole_group(micro: VisionTransformer) -> None:
    scores = score(trace_groups(micro), "l1", None, seed=0)
    block = blocks_of(micro)[1]
    rows = block.attn.qkv.weight.abs().sum(1) + block.attn.qkv.bias.abs()
    channels = rows.view(3, 96).sum(0) + block.attn.proj.weight.abs().sum(0)
    units = block.mlp.fc1.weight.abs().sum(1) + block.mlp.fc1.bias.abs()
    units = units + block.mlp.fc2.weight.abs().sum(0)
    np.testing.assert_allclose(
        scores.attention[1].reshape(-1), channels.detach().numpy(), rtol=1e-5
    )
    np.testing.assert_allclose(scores.mlp[1], units.detach().numpy(), rtol=1e-5)


def test_width_scores_cover_every_layer_on_the_residual_stream(micro: VisionTransformer) -> None:
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
    micro: VisionTransformer, calibration: Calibration, criterion: str
) -> None:
    scores = score(trace_groups(micro), criterion, calibration, seed=0)  # type: ignore[arg-type]
    assert scores.width.shape == (96,)
    assert [a.shape for a in scores.attention] == [(4, 24)] * 4
    assert [m.shape for m in scores.mlp] == [(384,)] * 4
    assert all((part > 0).all() for part in (scores.width, *scores.attention, *scores.mlp))


def test_random_follows_its_seed(micro: VisionTransformer) -> None:
    groups = trace_groups(micro)
    one, again, other = (score(groups, "random", None, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one.width, again.width)
    assert not np.array_equal(one.width, other.width)


def test_gradient_criteria_refuse_to_run_without_images(micro: VisionTransformer) -> None:
    with pytest.raises(DgpruneError, match="hessian needs images"):
        score(trace_groups(micro), "hessian", None, seed=0)
