"""The quickstart's model: a vision transformer small enough to train on a laptop in a minute."""

from typing import Any

import dgprune.torchvision_shim  # noqa: F401 - makes timm importable

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.vision_transformer import VisionTransformer

__all__ = ["vit_micro_patch4_32"]

_HALF = (0.5, 0.5, 0.5)
default_cfgs = generate_default_cfgs(
    {
        "vit_micro_patch4_32": {
            "input_size": (3, 32, 32),
            "num_classes": 10,
            "mean": _HALF,
            "std": _HALF,
            "crop_pct": 1.0,
            "interpolation": "bicubic",
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        }
    }
)


@register_model
def vit_micro_patch4_32(pretrained: bool = False, **kwargs: Any) -> VisionTransformer:
    """ViT-Micro: 32 px, patch 4, width 96, 4 blocks of 4 heads; 0.46 M parameters."""
    size = {"img_size": 32, "patch_size": 4, "embed_dim": 96, "depth": 4, "num_heads": 4}
    model: VisionTransformer = build_model_with_cfg(
        VisionTransformer, "vit_micro_patch4_32", pretrained, **{**size, **kwargs}
    )
    return model
