"""The least-squares refit: exact where nothing is lost, optimal where something is."""

from dataclasses import replace

import pytest
import torch

from dgprune.models import Transformer, blocks_of, create, structure_of
from pruning.plan import Plan, everything
from pruning.refit import Moments, refit
from pruning.surgery import apply_plan

MODELS = [
    "vit_micro_patch4_32",
    "deit_tiny_distilled_patch16_224",
    "deit3_small_patch16_224",
    "beit_base_patch16_224",
]


def images(count: int = 48) -> torch.Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(5))


def build(name: str) -> Transformer:
    torch.manual_seed(0)
    model = create(name, num_classes=10, image_size=32)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return model


def inner_plan(model: Transformer, name: str) -> Plan:
    whole = everything(structure_of(model, name))
    first = whole.blocks[0]
    dims = tuple(range(8))
    kept = replace(
        first,
        heads=first.heads[1:],
        qk_dims=(dims,) * (len(first.heads) - 1),
        value_dims=(dims,) * (len(first.heads) - 1),
        mlp=first.mlp[::3],
    )
    return Plan(width=whole.width, blocks=(kept,) * len(whole.blocks))


def test_moments_solve_least_squares() -> None:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.eye(12) + 0.3 * torch.randn(12, 12, generator=generator)
    x = torch.randn(4000, 12, generator=generator) @ mixing + 3
    weight, bias = torch.randn(5, 12, generator=generator), torch.randn(5, generator=generator)
    moments = Moments(12, 7)
    for part in x.split(500):
        moments.add(part, part[:, :7])
    new, shift = moments.solve(weight, bias)
    assert shift is not None
    design = torch.cat([x[:, :7], torch.ones(len(x), 1)], 1)
    best = torch.linalg.lstsq(design, x @ weight.T + bias).solution
    error = (x[:, :7] @ new.T + shift - (x @ weight.T + bias)).square().mean()
    least = (design @ best - (x @ weight.T + bias)).square().mean()
    assert error < 1.02 * least  # the ridge costs a little


def test_nothing_is_refitted_where_nothing_is_cut() -> None:
    model = build(MODELS[0])
    assert refit(model, everything(structure_of(model, MODELS[0])), images()) == {}


def test_an_input_that_is_always_zero_is_made_up_for_exactly() -> None:
    model = build(MODELS[0])
    for block in blocks_of(model):  # dead MLP units: the others need not change
        block.mlp.fc1.weight.data[::2] = 0
        block.mlp.fc1.bias.data[::2] = 0
    whole = everything(structure_of(model, MODELS[0]))
    kept = replace(whole.blocks[0], mlp=whole.blocks[0].mlp[1::2])
    plan = Plan(width=whole.width, blocks=(kept,) * len(whole.blocks))
    pruned = apply_plan(model, plan, MODELS[0], refit(model, plan, images()))
    with torch.no_grad():
        torch.testing.assert_close(pruned(images()), model(images()), atol=5e-2, rtol=5e-2)


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_refitting_brings_the_logits_nearer(name: str, narrow: bool) -> None:
    model = build(name)
    plan = inner_plan(model, name)
    if narrow:
        plan = replace(plan, width=plan.width[: len(plan.width) * 3 // 4])
    with torch.no_grad():
        expected = model(images())
        cut = apply_plan(model, plan, name)(images())
        fitted = apply_plan(model, plan, name, refit(model, plan, images()))(images())
    assert (fitted - expected).norm() < 0.8 * (cut - expected).norm()


def test_every_layer_behind_a_cut_is_refitted() -> None:
    model = build(MODELS[1])
    inner = refit(model, inner_plan(model, MODELS[1]), images(4))
    depth = len(blocks_of(model))
    assert set(inner) == {f"blocks.{i}.{n}" for i in range(depth) for n in ("attn.proj", "mlp.fc2")}
    plan = inner_plan(model, MODELS[1])
    wide = refit(model, replace(plan, width=plan.width[:96]), images(4))
    added = {f"blocks.{i}.{n}" for i in range(depth) for n in ("attn.qkv", "mlp.fc1")}
    assert set(wide) == set(inner) | added | {"head", "head_dist"}


def test_the_model_is_left_as_it_was() -> None:
    model = build(MODELS[0])
    before = {key: value.clone() for key, value in model.state_dict().items()}
    refit(model, inner_plan(model, MODELS[0]), images(4))
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert not any(block.mlp.fc2._forward_pre_hooks for block in blocks_of(model))
