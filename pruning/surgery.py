"""Applying a plan: torch-pruning's groups do the cutting, the attention's scale is kept."""

import copy
import math
from dataclasses import replace

import torch
from torch import nn

from dgprune.models import Transformer, blocks_of, rebuild, structure_of
from dgprune.structure import Structure
from pruning.groups import Groups, remove, trace_groups
from pruning.plan import BlockPlan, Plan, planned


def apply_plan(
    model: Transformer,
    plan: Plan,
    name: str,
    *,
    keep_scale: bool = True,
) -> Transformer:
    """A copy of `model` (timm name `name`) that keeps what `plan` keeps.

    Attention divides its scores by the square root of the head dimension. Where dimensions go, that
    divisor would change and with it every logit; the rows of q are rescaled so that it does not.
    Removing units whose weights are zero therefore leaves the logits as they were. Without
    `keep_scale` the divisor changes, as in timm's own attention: an ablation.

    Raises DgpruneError where the plan does not fit the model.
    """
    before = structure_of(model, name)
    width, blocks = planned(plan, before)
    if (width, blocks) == (before.embed_dim, before.blocks):
        return copy.deepcopy(model)
    groups = trace_groups(copy.deepcopy(model), miss_edge=bool(plan.width_after))
    pruned = groups.model
    for index, kept in enumerate(plan.blocks):
        _cut_block(groups, index, kept, before)
    remove(groups, groups.width_root, _others(plan.width, before.embed_dim))
    if plan.width_after:
        remove(groups, groups.width_after_root, _others(plan.width_after, before.embed_dim))
    for index, block in enumerate(blocks):
        if keep_scale:
            _keep_scale(groups.qkv(index), before.blocks[index].head_dim, block.head_dim)
    after = replace(before, embed_dim=width, blocks=blocks)
    return rebuild(after, dict(pruned.state_dict()))


def _cut_block(groups: Groups, index: int, kept: BlockPlan, before: Structure) -> None:
    block = before.blocks[index]
    _line_up_values(groups.model, index, kept, block.head_dim)
    channels = kept.qk_channels(block.head_dim)
    remove(groups, groups.qkv(index), _others(channels, block.attention_dim))
    attention = blocks_of(groups.model)[index].attn
    table = getattr(attention, "relative_position_bias_table", None)
    if table is not None:
        attention.relative_position_bias_table = nn.Parameter(table.detach()[:, list(kept.heads)])
    remove(groups, groups.fc1(index), _others(kept.mlp, block.mlp_hidden))


@torch.no_grad()
def _line_up_values(model: Transformer, index: int, kept: BlockPlan, head_dim: int) -> None:
    """Reorders v inside each head so that its kept dimensions stand where those of q and k stand.

    The graph ties a dimension of v to the same one of q and k, but the model does not: v and the
    columns of proj may be permuted together without a change of any logit.
    """
    attention = blocks_of(model)[index].attn
    order = list(range(attention.attn_dim))
    for head, qk, value in zip(kept.heads, kept.qk_dims, kept.value_dims, strict=True):
        first = head * head_dim
        for places, sources in (
            (qk, value),
            (_others(qk, head_dim), _others(value, head_dim)),
        ):
            for place, source in zip(places, sources, strict=True):
                order[first + place] = first + source
    rows = [2 * attention.attn_dim + channel for channel in order]
    attention.qkv.weight[2 * attention.attn_dim :] = attention.qkv.weight[rows]
    if attention.qkv.bias is not None:
        attention.qkv.bias[2 * attention.attn_dim :] = attention.qkv.bias[rows]
    attention.proj.weight.copy_(attention.proj.weight[:, order])


def _others(kept: tuple[int, ...], size: int) -> list[int]:
    return sorted(set(range(size)) - set(kept))


@torch.no_grad()
def _keep_scale(qkv: nn.Linear, old_head_dim: int, new_head_dim: int) -> None:
    """Scales q so that q.k / sqrt(new) is what q.k / sqrt(old) was."""
    if old_head_dim == new_head_dim:
        return
    factor = math.sqrt(new_head_dim / old_head_dim)
    rows = qkv.out_features // 3
    qkv.weight[:rows] *= factor
    if qkv.bias is not None:
        qkv.bias[:rows] *= factor
