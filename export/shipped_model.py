"""The module that is exported: the model, with preprocessing and bfloat16 around it as asked."""

import copy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from dgprune.data.preprocessing import Preprocessing
from dgprune.models import Transformer, set_fused_attention


class WithPreprocessing(nn.Module):
    """Probabilities [batch, classes] of pixels [batch, px, px, 3], 0 to 255."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor(preprocessing.mean))
        self.register_buffer("std", torch.tensor(preprocessing.std))

    def forward(self, images: Tensor) -> Tensor:
        """As `to_input` on the host, then a softmax."""
        scaled = (images.float() / 255 - self.mean) / self.std
        logits = self.model(scaled.permute(0, 3, 1, 2))
        return functional.softmax(logits, dim=-1)


class InBfloat16(nn.Module):
    """Float in and out, bfloat16 between, but for the patch embedding.

    ONNX knows no convolution in bfloat16 before opset 22.
    """

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).bfloat16()
        self.model.patch_embed.proj.float()
        self.model.patch_embed.register_forward_hook(_to_bfloat16)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [batch, classes] of images [batch, 3, px, px]."""
        return cast(Tensor, self.model(images)).float()


def _to_bfloat16(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
    return output.bfloat16()


def shipped_model(
    model: Transformer, *, bfloat16: bool = False, preprocessing: Preprocessing | None = None
) -> nn.Module:
    """What the exporter sees; attention is unfused, for the exporter cannot take a masked one."""
    set_fused_attention(model, False)
    module: nn.Module = InBfloat16(model) if bfloat16 else model
    if preprocessing is not None:
        module = WithPreprocessing(module, preprocessing)
    return module.eval()
