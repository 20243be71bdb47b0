"""The refit: nothing changes where nothing was lost, least squares where something was."""

import errno
from dataclasses import replace

import pytest
import torch
from torch import nn

from dgprune.errors import DgpruneError
from dgprune.models import Transformer, blocks_of, create, structure_of
from pruning.least_squares import improve
from pruning.plan import Plan, everything
from pruning.refit import refit
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


def refitted(model: Transformer, plan: Plan, name: str, inputs: torch.Tensor) -> Transformer:
    pruned = apply_plan(model, plan, name)
    refit(model, pruned, plan, inputs)
    return pruned


def changed(before: Transformer, after: Transformer) -> set[str]:
    parameters = dict(after.named_parameters())
    return {
        name.removesuffix(".weight")
        for name, p in before.named_parameters()
        if not torch.equal(p, parameters[name]) and name.endswith("weight")
    }


@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_is_changed_by_least_squares(bias: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.eye(7) + 0.3 * torch.randn(7, 7, generator=generator)
    y = torch.randn(4000, 7, generator=generator) @ mixing + 3 * bias
    wanted = torch.randn(4000, 5, generator=generator) + y @ torch.randn(7, 5, generator=generator)
    layer = nn.Linear(7, 5, bias=bias)
    with torch.no_grad():
        improve(
            layer,
            [
                (w - layer(part), part)
                for w, part in zip(wanted.split(500), y.split(500), strict=True)
            ],
        )
        error = (layer(y) - wanted).square().mean()
    design = torch.cat([y, torch.ones(len(y), 1)], 1) if bias else y
    best = torch.linalg.lstsq(design, wanted).solution
    least = (design @ best - wanted).square().mean()
    assert least <= error < 1.05 * least  # the ridge costs a little


@pytest.mark.parametrize("name", MODELS)
def test_nothing_changes_where_nothing_was_lost(name: str) -> None:
    model = build(name)
    for block in blocks_of(model):  # dead MLP units: the others need not change
        block.mlp.fc1.weight.data[::2] = 0
        block.mlp.fc1.bias.data[::2] = 0
        block.mlp.fc2.weight.data[:, ::2] = 0
    whole = everything(structure_of(model, name))
    kept = replace(whole.blocks[0], mlp=whole.blocks[0].mlp[1::2])
    plan = Plan(width=whole.width, blocks=(kept,) * len(whole.blocks))
    pruned = refitted(model, plan, name, images())
    with torch.no_grad():
        torch.testing.assert_close(pruned(images()), model(images()), atol=1e-4, rtol=1e-4)


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
        fitted = refitted(model, plan, name, images())(images())
    assert (fitted - expected).norm() < 0.5 * (cut - expected).norm()


def test_later_layers_make_up_for_what_earlier_ones_lost() -> None:
    model = build(MODELS[0])
    whole = everything(structure_of(model, MODELS[0]))
    first = replace(whole.blocks[0], mlp=whole.blocks[0].mlp[::4])
    plan = replace(whole, blocks=(first, *whole.blocks[1:]))
    cut, pruned = apply_plan(model, plan, MODELS[0]), refitted(model, plan, MODELS[0], images())
    later = {f"blocks.1.{n}" for n in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")}
    assert later < changed(cut, pruned)


def test_every_linear_layer_behind_the_first_cut_is_refitted() -> None:
    name = MODELS[1]
    model, plan = build(name), inner_plan(build(name), name)
    linear = {n for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    cut = apply_plan(model, plan, name)
    assert linear - {"blocks.0.attn.qkv"} <= changed(cut, refitted(model, plan, name, images(8)))
    narrow = replace(plan, width=plan.width[:96])
    cut = apply_plan(model, narrow, name)
    assert changed(cut, refitted(model, narrow, name, images(8))) == linear


def test_a_layer_scale_of_zero_is_no_division_by_zero() -> None:
    name = MODELS[2]
    model = build(name)
    for block in blocks_of(model):
        block.ls1.gamma.data[::2] = 0
        block.ls2.gamma.data.zero_()
    pruned = refitted(model, inner_plan(model, name), name, images(8))
    assert all(bool(p.isfinite().all()) for p in pruned.parameters())


def test_the_dense_model_is_left_as_it_was() -> None:
    model = build(MODELS[0])
    before = {key: value.clone() for key, value in model.state_dict().items()}
    pruned = refitted(model, inner_plan(model, MODELS[0]), MODELS[0], images(4))
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    for module in (*model.modules(), *pruned.modules()):
        assert not module._forward_pre_hooks


def test_a_full_disk_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pruning.refit.os.posix_fallocate", full)
    model = build(MODELS[0])
    with pytest.raises(DgpruneError, match="TMPDIR"):
        refitted(model, inner_plan(model, MODELS[0]), MODELS[0], images(4))


def test_values_that_are_no_numbers_are_refused() -> None:
    layer = nn.Linear(3, 2)
    with torch.no_grad(), pytest.raises(DgpruneError, match="not numbers"):
        improve(layer, [(torch.full((4, 2), float("nan")), torch.ones(4, 3))])
