"""What pruning must not change: identity at ratio 0, zero groups, the coverage of every axis."""

from dataclasses import replace

import pytest
import torch

from dgprune.models import Transformer, blocks_of, create, set_fused_attention, structure_of
from dgprune.structure import Structure, cost_of
from pruning.budgets import Budget, Limits
from pruning.criteria import score
from pruning.groups import trace_groups
from pruning.plan import BlockPlan, Plan, everything
from pruning.planning import make_plan
from pruning.surgery import apply_plan

MODELS = [
    "vit_micro_patch4_32",
    "deit_tiny_distilled_patch16_224",
    "deit3_small_patch16_224",
    "vit_medium_patch16_reg1_gap_256",
    "beit_base_patch16_224",
]
IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def build(name: str) -> tuple[Transformer, Structure]:
    torch.manual_seed(0)
    model = create(name, num_classes=10, image_size=32)
    with torch.no_grad():
        for parameter in model.parameters():  # timm starts biases at 0, which would hide errors
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return model, structure_of(model, name)


@pytest.mark.parametrize("name", MODELS)
def test_ratio_zero_returns_the_same_bits(name: str) -> None:
    model, structure = build(name)
    expected = model(IMAGES)
    scores = score(trace_groups(model), "l1", None, seed=0)
    plan = make_plan(scores, structure, "global", Budget(kind="ratio", value=0.0), Limits())
    set_fused_attention(model, True)
    assert torch.equal(apply_plan(model, plan, name)(IMAGES), expected)


def zero_and_drop(model: Transformer, structure: Structure, what: str) -> Plan:
    """Zeroes units of the kind `what` in every block; the plan that removes exactly those."""
    heads, dim = structure.blocks[0].num_heads, structure.blocks[0].head_dim
    kept = everything(structure).blocks[0]
    for block in blocks_of(model):
        qkv, channels = block.attn.qkv, heads * dim
        for part in range(3):
            rows = {
                "head": range(dim, 2 * dim),
                "head dimension": [h * dim + d for h in range(heads) for d in (0, 3, 5, 9)],
                "mlp": [],
            }[what]
            index = [part * channels + row for row in rows]
            qkv.weight.data[index] = 0
            qkv.bias.data[index] = 0
        if what == "mlp":
            block.mlp.fc1.weight.data[4:20] = 0
            block.mlp.fc1.bias.data[4:20] = 0  # GELU(0) = 0
    if what == "head":
        kept = replace(
            kept,
            heads=tuple(h for h in kept.heads if h != 1),
            qk_dims=kept.qk_dims[1:],
            value_dims=kept.value_dims[1:],
        )
    elif what == "head dimension":
        dims = tuple(d for d in range(dim) if d not in (0, 3, 5, 9))
        kept = replace(kept, qk_dims=(dims,) * heads, value_dims=(dims,) * heads)
    else:
        kept = replace(kept, mlp=tuple(u for u in kept.mlp if not 4 <= u < 20))
    return Plan(width=everything(structure).width, blocks=(kept,) * len(structure.blocks))


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("what", ["head", "head dimension", "mlp"])
@pytest.mark.parametrize("name", MODELS)
def test_zero_groups_vanish(name: str, what: str, fused: bool) -> None:
    model, structure = build(name)
    plan = zero_and_drop(model, structure, what)
    pruned = apply_plan(model, plan, name)
    for either in (model, pruned):
        set_fused_attention(either, fused)
    with torch.no_grad():
        before, after = model(IMAGES), pruned(IMAGES)
    assert structure_of(pruned, name).blocks != structure.blocks
    assert (before - after).abs().max() < 1e-4 * before.abs().max()


@pytest.mark.parametrize("name", MODELS)
def test_every_axis_is_pruned_and_the_input_is_untouched(name: str) -> None:
    model, structure = build(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    scores = score(trace_groups(model), "random", None, seed=0)
    plan = make_plan(scores, structure, "global", Budget(kind="ratio", value=0.5), Limits())
    pruned = apply_plan(model, plan, name)
    after = structure_of(pruned, name)
    assert after.embed_dim < structure.embed_dim
    for kept, whole in zip(after.blocks, structure.blocks, strict=True):
        assert kept.attention_dim < whole.attention_dim
        assert kept.mlp_hidden < whole.mlp_hidden
    assert cost_of(after).parameters == sum(p.numel() for p in pruned.parameters())
    assert pruned(IMAGES).shape == (3, 10)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_surgery_equals_selecting_rows_and_columns_by_hand(micro: Transformer) -> None:
    structure = structure_of(micro, "vit_micro_patch4_32")
    width = tuple(range(0, 96, 3))
    plan = Plan(width=width, blocks=everything(structure).blocks)
    pruned = apply_plan(micro, plan, "vit_micro_patch4_32")
    index = list(width)
    block, kept = blocks_of(micro)[2], blocks_of(pruned)[2]
    assert torch.equal(kept.attn.qkv.weight, block.attn.qkv.weight[:, index])
    assert torch.equal(kept.mlp.fc2.weight, block.mlp.fc2.weight[index])
    after, before = pruned.get_parameter, micro.get_parameter
    assert torch.equal(after("pos_embed"), before("pos_embed")[..., index])
    assert torch.equal(after("head.weight"), before("head.weight")[:, index])


def test_q_and_k_may_keep_other_dimensions_than_v(micro: Transformer) -> None:
    structure = structure_of(micro, "vit_micro_patch4_32")
    first = BlockPlan(
        heads=(0, 2),
        qk_dims=((0, 1, 2, 3), (20, 21, 22, 23)),
        value_dims=((4, 6, 8, 10), (0, 1, 2, 23)),
        mlp=tuple(range(16)),
    )
    whole = everything(structure)
    plan = Plan(width=whole.width, blocks=(first, *whole.blocks[1:]))
    pruned = apply_plan(micro, plan, "vit_micro_patch4_32")
    old, new = blocks_of(micro)[0].attn, blocks_of(pruned)[0].attn
    qk, value = [0, 1, 2, 3, 68, 69, 70, 71], [4, 6, 8, 10, 48, 49, 50, 71]
    torch.testing.assert_close(new.qkv.weight[:8], old.qkv.weight[qk] * (4 / 24) ** 0.5)
    assert torch.equal(new.qkv.weight[8:16], old.qkv.weight[[96 + row for row in qk]])
    assert torch.equal(new.qkv.weight[16:], old.qkv.weight[[192 + row for row in value]])
    assert torch.equal(new.proj.weight, old.proj.weight[:, value])


@pytest.mark.parametrize("name", MODELS)
def test_zero_dimensions_of_q_and_k_vanish_apart_from_those_of_v(name: str) -> None:
    model, structure = build(name)
    heads, dim = structure.blocks[0].num_heads, structure.blocks[0].head_dim
    channels = heads * dim
    for block in blocks_of(model):
        for part, dims in ((0, (1, 2, 3, 4)), (1, (1, 2, 3, 4)), (2, (7, 9, 11, 13))):
            rows = [part * channels + h * dim + d for h in range(heads) for d in dims]
            block.attn.qkv.weight.data[rows] = 0
            block.attn.qkv.bias.data[rows] = 0
    whole = everything(structure)
    kept = replace(
        whole.blocks[0],
        qk_dims=(tuple(d for d in range(dim) if d not in (1, 2, 3, 4)),) * heads,
        value_dims=(tuple(d for d in range(dim) if d not in (7, 9, 11, 13)),) * heads,
    )
    plan = Plan(width=whole.width, blocks=(kept,) * len(whole.blocks))
    pruned = apply_plan(model, plan, name)
    set_fused_attention(model, True)
    with torch.no_grad():
        before, after = model(IMAGES), pruned(IMAGES)
    assert (before - after).abs().max() < 1e-4 * before.abs().max()
