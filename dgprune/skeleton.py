"""The model of a structure, without memory for its weights."""

from typing import Any

import dgprune.torchvision_shim  # noqa: F401 - makes timm importable

import torch
from timm.layers.layer_scale import LayerScale
from timm.models.beit import Beit
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from dgprune.errors import DgpruneError
from dgprune.structure import Block, Structure
from dgprune.timm_models import Transformer, blocks_of, plain_timm, require_supported_name


def skeleton(structure: Structure) -> Transformer:
    """The model of `structure` without memory for its weights (on torch's meta device)."""
    require_supported_name(structure.model)
    with torch.device("meta"):
        try:
            model = plain_timm(
                structure.model, num_classes=structure.num_classes, img_size=structure.image_size
            )
        except (AssertionError, AttributeError, RuntimeError, TypeError, ValueError) as error:
            raise DgpruneError(
                f"timm cannot make {structure.model} at {structure.image_size} px: {error}"
            ) from None
        if not isinstance(model, VisionTransformer | Beit):
            raise DgpruneError(f"{structure.model} is neither ViT, DeiT nor BEiT")
        blocks = blocks_of(model)
        if len(blocks) != len(structure.blocks):
            raise DgpruneError(
                f"{structure.model} has {len(blocks)} blocks, the structure {len(structure.blocks)}"
            )
        _narrow_width(model, structure)
        for block, wanted in zip(blocks, structure.blocks, strict=True):
            _narrow_block(block, wanted, structure.embed_dim)
    return model


def _narrow_width(model: Transformer, structure: Structure) -> None:
    width = structure.embed_dim
    model.embed_dim = model.num_features = model.head_hidden_size = width
    patch = structure.patch_size
    model.patch_embed.proj = nn.Conv2d(3, width, patch, patch)
    for name in ("cls_token", "reg_token", "dist_token", "pos_embed"):
        token = getattr(model, name, None)
        if token is not None:
            setattr(model, name, nn.Parameter(token.new_empty(*token.shape[:-1], width)))
    if isinstance(model.norm, nn.Identity):  # the mean over tokens is normalised, not the tokens
        model.fc_norm = _layer_norm(model.fc_norm, width)
    else:
        model.norm = _layer_norm(model.norm, width)
    for name in ("head", "head_dist"):
        if hasattr(model, name):
            setattr(model, name, nn.Linear(width, structure.num_classes))


def _narrow_block(block: Any, wanted: Block, width: int) -> None:
    attention, mlp = block.attn, block.mlp
    block.norm1 = _layer_norm(block.norm1, width)
    block.norm2 = _layer_norm(block.norm2, width)
    inner = wanted.attention_dim
    attention.num_heads, attention.head_dim = wanted.num_heads, wanted.head_dim
    attention.attn_dim, attention.scale = inner, wanted.head_dim**-0.5
    attention.qkv = nn.Linear(width, 3 * inner, bias=attention.qkv.bias is not None)
    attention.proj = nn.Linear(inner, width)
    mlp.fc1 = nn.Linear(width, wanted.mlp_hidden)
    mlp.fc2 = nn.Linear(wanted.mlp_hidden, width)
    table = getattr(attention, "relative_position_bias_table", None)
    if table is not None:
        attention.relative_position_bias_table = nn.Parameter(
            table.new_empty(len(table), wanted.num_heads)
        )
    for name in ("ls1", "ls2"):
        scale = getattr(block, name, None)
        if isinstance(scale, LayerScale):
            scale.gamma = nn.Parameter(scale.gamma.new_empty(width))


def _layer_norm(old: object, width: int) -> nn.LayerNorm:
    if not isinstance(old, nn.LayerNorm):
        raise DgpruneError(
            f"a {type(old).__name__} stands where a LayerNorm is needed: not prunable yet"
        )
    return type(old)(width, eps=old.eps)
