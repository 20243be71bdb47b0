"""Timm models in and out of their structure: create, describe, rebuild."""

from typing import Any, cast

import dgprune.torchvision_shim  # noqa: F401 - makes timm importable

import timm
import torch
from timm.data.config import resolve_model_data_config
from timm.layers.layer_scale import LayerScale
from timm.models.beit import Beit
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer
from torch import nn

import dgprune.micro  # noqa: F401 - registers the quickstart's model
from dgprune.beit import plain
from dgprune.data.preprocessing import RESAMPLING, Preprocessing
from dgprune.errors import DgpruneError
from dgprune.schema import nearest
from dgprune.structure import Block, Structure

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
Transformer = VisionTransformer | Beit
FAMILIES = ("vit_", "deit_", "deit3_", "beit_", "beitv2_")
Weights = dict[str, torch.Tensor]


def create(name: str, *, num_classes: int, image_size: int | None) -> Transformer:
    """A randomly initialised timm model; seed torch first.

    `image_size` None keeps the model's own.     Raises DgpruneError for an unknown name (with the
    nearest one) or an unsupported family.
    """
    require_supported_name(name)
    try:
        model = plain_timm(name, num_classes=num_classes, img_size=image_size)
    except AssertionError as error:
        raise DgpruneError(f"{name} cannot take {image_size} px images: {error}") from None
    structure_of(model, name)
    return model.eval()


def create_timm(name: str, **arguments: Any) -> Transformer:
    """Timm's own model; an argument that is None keeps the model's default.

    timm annotates models as plain modules; the family check of `structure_of` stands behind this
    type.
    """
    given = {key: value for key, value in arguments.items() if value is not None}
    return cast(Transformer, timm.create_model(name, **given))


def plain_timm(name: str, **arguments: Any) -> Transformer:
    """Like `create_timm`, in the form this project works on (BEiT becomes plain layers)."""
    model = create_timm(name, **arguments)
    return plain(model) if isinstance(model, Beit) else model


def blocks_of(model: Transformer) -> list[Any]:
    """The transformer blocks, whose parts timm leaves untyped."""
    return list(model.blocks)


def bare_model(name: str) -> Transformer:
    """The timm model of that name, without memory for its weights (on torch's meta device)."""
    require_supported_name(name)
    with torch.device("meta"):
        model = plain_timm(name)
    structure_of(model, name)
    return model


def require_supported_name(name: str) -> None:
    """Raises DgpruneError where `name` is not a timm model, or not of a supported family."""
    bare = name.split(".")[0]
    if not timm.is_model(bare):
        known = [m for m in timm.list_models() if m.startswith(FAMILIES)]
        raise DgpruneError(f"timm has no model {name!r}{nearest(bare, known)}")
    if not bare.startswith(FAMILIES):
        raise DgpruneError(
            f"{name} is of no supported family ({', '.join(f + '*' for f in FAMILIES)})"
        )


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
    whole = hasattr(model.patch_embed, "proj") and hasattr(model.patch_embed, "patch_size")
    if not whole or not all(_is_plain(block) for block in blocks_of(model)):
        raise DgpruneError(f"{name} has parts that cannot be pruned yet; use a plain ViT")
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
    """Whether a block is one attention and one MLP of two layers."""
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


def set_fused_attention(model: nn.Module, fused: bool) -> None:
    """Switches every attention between PyTorch's fused kernel and plain products."""
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = fused  # type: ignore[assignment]
