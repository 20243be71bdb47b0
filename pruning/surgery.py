"""Applying a plan: torch-pruning's groups do the cutting, the attention's scale is kept."""

import copy
import math
from dataclasses import replace

import torch
from torch import nn

from dgprune.models import VisionTransformer, rebuild, structure_of
from dgprune.structure import Structure
from pruning.groups import Groups, remove, trace_groups
from pruning.plan import BlockPlan, Plan, planned


def apply_plan(model: VisionTransformer, plan: Plan, name: str) -> VisionTransformer:
    """A copy of `model` (timm name `name`) that keeps what `plan` keeps.

    Attention divides its scores by the square root of the head dimension. Where dimensions go, that
    divisor would change and with it every logit; the rows of q are rescaled so that it does not.
    Removing units whose weights are zero therefore leaves the logits as they were.

    Raises DgpruneError where the plan does not fit the model.
    """
    before = structure_of(model, name)
    width, blocks = planned(plan, before)
    if (width, blocks) == (before.embed_dim, before.blocks):
        return copy.deepcopy(model)
    groups = trace_groups(copy.deepcopy(model))
    pruned = groups.model
    for index, kept in enumerate(plan.blocks):
        _cut_block(groups, index, kept, before)
    remove(groups, groups.width_root, _others(plan.width, before.embed_dim))
    for index, block in enumerate(blocks):
        _keep_scale(groups.qkv(index), before.blocks[index].head_dim, block.head_dim)
    after = replace(before, embed_dim=width, blocks=blocks)
    return rebuild(after, dict(pruned.state_dict()))


def _cut_block(groups: Groups, index: int, kept: BlockPlan, before: Structure) -> None:
    block = before.blocks[index]
    channels = {
        head * block.head_dim + dim
        for head, dims in zip(kept.heads, kept.head_dims, strict=True)
        for dim in dims
    }
    remove(groups, groups.qkv(index), _others(tuple(channels), block.attention_dim))
    remove(groups, groups.fc1(index), _others(kept.mlp, block.mlp_hidden))


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
