"""timm's models by name, in the form that this project works on."""

from typing import Any, cast

import dgprune.torchvision_shim  # noqa: F401 - makes timm importable

import timm
import torch
from timm.models.beit import Beit
from timm.models.vision_transformer import VisionTransformer
from torch import nn

import dgprune.micro  # noqa: F401 - registers the quickstart's model
from dgprune.beit import plain
from dgprune.errors import DgpruneError
from dgprune.schema import nearest

Transformer = VisionTransformer | Beit
FAMILIES = ("vit_", "deit_", "deit3_", "beit_", "beitv2_")
Weights = dict[str, torch.Tensor]


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


def require_supported_name(name: str) -> None:
    """Raises DgpruneError where `name`, its family or its tag is not a known one.

    A tag behind a dot says which of timm's weights are meant.
    """
    bare, _, tag = name.partition(".")
    if not timm.is_model(bare):
        known = [m for m in timm.list_models() if m.startswith(FAMILIES)]
        raise DgpruneError(f"timm has no model {name!r}{nearest(bare, known)}")
    if not bare.startswith(FAMILIES):
        raise DgpruneError(
            f"{name} is of no supported family ({', '.join(f + '*' for f in FAMILIES)})"
        )
    tagged = timm.list_models(f"{bare}.*", include_tags=True)
    if tag and name not in tagged:
        known = [full.partition(".")[2] for full in tagged]
        raise DgpruneError(
            f"timm has no weights {tag!r} of {bare}{nearest(tag, known)}; give {bare} alone, or "
            f"with one of: {', '.join(known) or 'none'}"
        )


def set_fused_attention(model: nn.Module, fused: bool) -> None:
    """Switches every attention between PyTorch's fused kernel and plain products."""
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = fused  # type: ignore[assignment]
