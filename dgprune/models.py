"""Timm models in and out of their structure: create, describe, rebuild."""

from typing import Any

import dgprune.torchvision_shim  # noqa: F401 - makes timm importable

import torch
from timm.data.config import resolve_model_data_config
from timm.layers import attention as timm_attention
from timm.models import beit as timm_beit
from timm.models import vision_transformer
from timm.models.beit import Beit
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from dgprune.beit import Attention as PlainAttention
from dgprune.data.preprocessing import RESAMPLING, Preprocessing
from dgprune.errors import DgpruneError
from dgprune.skeleton import skeleton
from dgprune.structure import Block, Structure
from dgprune.timm_models import (
    Transformer,
    Weights,
    blocks_of,
    create_timm,
    plain_timm,
    require_supported_name,
    set_fused_attention,
)

__all__ = [
    "Transformer",
    "VisionTransformer",
    "Weights",
    "bare_model",
    "blocks_of",
    "create",
    "create_timm",
    "describe",
    "preprocessing_of",
    "rebuild",
    "require_supported_name",
    "set_fused_attention",
    "skeleton",
    "structure_of",
]
_BLOCKS = (vision_transformer.Block, timm_beit.Block)
_ATTENTIONS = (timm_attention.Attention, PlainAttention)


def create(name: str, *, num_classes: int, image_size: int | None) -> Transformer:
    """A randomly initialised timm model; seed torch first.

    `image_size` None keeps the model's own. Raises DgpruneError for an unknown name (with the
    nearest one), an unsupported family, or a size that the model cannot take.
    """
    require_supported_name(name)
    model = _sized(name, num_classes, image_size)
    structure_of(model, name)
    return model.eval()


def bare_model(name: str, image_size: int | None = None) -> Transformer:
    """The timm model of that name, without memory for its weights (on torch's meta device).

    Raises DgpruneError as `create` does.
    """
    require_supported_name(name)
    with torch.device("meta"):
        model = _sized(name, 1, image_size)  # some have no classifier
    structure_of(model, name)
    return model


def _sized(name: str, num_classes: int, image_size: int | None) -> Transformer:
    """The plain timm model; raises DgpruneError for an image size that it cannot take."""
    try:
        model = plain_timm(name, num_classes=num_classes, img_size=image_size)
    except AssertionError as error:
        raise DgpruneError(f"{name} cannot take {image_size} px images: {error}") from None
    patch = model.patch_embed.patch_size[0]
    if image_size is not None and image_size % patch:
        raise DgpruneError(f"{name} cannot take {image_size} px images; give a multiple of {patch}")
    return model


def preprocessing_of(model: nn.Module, image_size: int) -> Preprocessing:
    """The model's own mean, std and interpolation, at `image_size` px."""
    config = resolve_model_data_config(model)  # type: ignore[no-untyped-call]
    interpolation = config["interpolation"]
    return Preprocessing(
        image_size=image_size,
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        interpolation=interpolation if interpolation in RESAMPLING else "bicubic",
    )


def structure_of(model: nn.Module, name: str) -> Structure:
    """The structure of a ViT, DeiT or plain BEiT, read off its layers.

    Raises DgpruneError where the model has parts that a Structure does not describe.
    """
    structure = describe(model, name)
    have = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    need = {key: tuple(value.shape) for key, value in skeleton(structure).state_dict().items()}
    if have != need:
        odd = sorted(key for key in have.keys() | need.keys() if have.get(key) != need.get(key))
        raise DgpruneError(f"{name} has parts that cannot be pruned yet ({', '.join(odd[:3])})")
    return structure


def describe(model: nn.Module, name: str) -> Structure:
    """The structure of a model that is known to have no other parts, as one that was rebuilt."""
    if type(model) not in (VisionTransformer, VisionTransformerDistilled, Beit):
        raise DgpruneError(f"{name} is a {type(model).__name__}; supported are ViT, DeiT and BEiT")
    assert isinstance(model, VisionTransformer | Beit)
    whole = isinstance(getattr(model.patch_embed, "proj", None), nn.Conv2d)
    pooled = getattr(model, "attn_pool", None) is not None
    if pooled or not whole or not all(_is_plain(block) for block in blocks_of(model)):
        raise DgpruneError(f"{name} has parts that cannot be pruned yet; use a plain ViT")
    try:
        return _structure_of_parts(model, name)
    except ValueError as error:  # a size that no structure has
        raise DgpruneError(f"{name} cannot be pruned yet: {error}; use a plain ViT") from None


def _structure_of_parts(model: Transformer, name: str) -> Structure:
    embedding, first = model.patch_embed, blocks_of(model)[0]
    return Structure(
        model=name,
        image_size=embedding.img_size[0],
        patch_size=embedding.patch_size[0],
        num_classes=model.num_classes,
        embed_dim=embedding.proj.out_channels,
        prefix_tokens=model.num_prefix_tokens,
        classifiers=2 if isinstance(model, VisionTransformerDistilled) else 1,
        qkv_bias=first.attn.qkv.bias is not None,
        layer_scale=hasattr(getattr(first, "ls1", None), "gamma"),
        class_position=not getattr(model, "no_embed_class", False),
        absolute_position=model.pos_embed is not None,
        relative_position=getattr(first.attn, "relative_position_bias_table", None) is not None,
        blocks=tuple(_block_of(block) for block in blocks_of(model)),
    )


def _is_plain(block: Any) -> bool:
    """Whether a block is one attention and one MLP of two layers, each behind its LayerNorm."""
    if type(block) not in _BLOCKS or type(block.attn) not in _ATTENTIONS:
        return False
    parts = (("attn", "qkv"), ("attn", "proj"), ("mlp", "fc1"), ("mlp", "fc2"))
    return all(hasattr(getattr(block, part, None), layer) for part, layer in parts)


def _block_of(block: Any) -> Block:
    heads = block.attn.num_heads
    return Block(
        num_heads=heads,
        head_dim=block.attn.qkv.out_features // (3 * heads),
        mlp_hidden=block.mlp.fc1.out_features,
    )


def rebuild(structure: Structure, weights: Weights) -> Transformer:
    """The model of `structure` holding `weights`, in evaluation mode.

    Raises DgpruneError where names or shapes of the weights do not fit the structure.
    """
    model = skeleton(structure)
    try:
        model.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        reason = str(error).replace("\n", " ").replace("\t", "")
        raise DgpruneError(f"weights do not fit the structure: {reason[:200]}") from None
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    return model.eval()
