"""BEiT in a form that can be pruned: same function, plain layers.

timm's BEiT hides its attention from everything that looks at layers: it calls `F.linear` with the
weight of `qkv` and a bias put together from `q_bias`, zeros and `v_bias`, and it reshapes by the
model's width, so heads cannot leave. `plain` replaces each attention by one whose qkv is an
ordinary Linear, and folds the layer scales `gamma_1` and `gamma_2` into proj and fc2. The bias of
the keys is a trainable zero then: a softmax does not see it.
"""

from typing import Any, cast

import dgprune.torchvision_shim  # noqa: F401 - makes timm importable

import torch
from timm.models.beit import Beit, gen_relative_position_index
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Self-attention with a bias by relative position, of any number of heads and dimensions."""

    def __init__(
        self, width: int, num_heads: int, head_dim: int, window: tuple[int, int] | None
    ) -> None:
        super().__init__()
        self.num_heads, self.head_dim = num_heads, head_dim
        self.attn_dim = num_heads * head_dim
        self.scale = head_dim**-0.5
        self.fused_attn = True
        self.window = window
        self.qkv = nn.Linear(width, 3 * self.attn_dim)
        self.proj = nn.Linear(self.attn_dim, width)
        self.relative_position_bias_table: nn.Parameter | None = None
        if window is not None:
            distances = (2 * window[0] - 1) * (2 * window[1] - 1) + 3
            self.relative_position_bias_table = nn.Parameter(torch.zeros(distances, num_heads))

    def forward(self, x: Tensor, shared_rel_pos_bias: Tensor | None = None) -> Tensor:
        """Tokens [b, n, width] in and out."""
        b, n, _ = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        bias = self._position_bias(x.device)
        if self.fused_attn:
            x = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        else:
            scores = (q * self.scale) @ k.transpose(-2, -1)
            x = (scores if bias is None else scores + bias).softmax(-1) @ v
        return cast(Tensor, self.proj(x.transpose(1, 2).reshape(b, n, self.attn_dim)))

    def _position_bias(self, device: torch.device) -> Tensor | None:
        """Bias of every pair of tokens, [1, heads, n, n]."""
        if self.relative_position_bias_table is None or self.window is None:
            return None
        index = gen_relative_position_index(self.window, device=device)
        return self.relative_position_bias_table[index].permute(2, 0, 1).unsqueeze(0)


def plain(model: Beit) -> Beit:
    """`model` with plain attentions and folded layer scales, changed in place; the same logits."""
    blocks: list[Any] = list(model.blocks)
    for block in blocks:
        block.attn = _plain_attention(block.attn)
        for gamma, layer in (("gamma_1", block.attn.proj), ("gamma_2", block.mlp.fc2)):
            scale = getattr(block, gamma)
            if scale is not None:
                with torch.no_grad():
                    layer.weight.mul_(scale[:, None])
                    layer.bias.mul_(scale)
                setattr(block, gamma, None)
    return model


@torch.no_grad()
def _plain_attention(old: Any) -> Attention:
    width, inner = old.qkv.in_features, old.qkv.out_features // 3
    new = Attention(width, old.num_heads, inner // old.num_heads, old.window_size)
    new.qkv.weight.copy_(old.qkv.weight)
    new.qkv.bias.zero_()
    if old.q_bias is not None:
        new.qkv.bias[:inner] = old.q_bias
        new.qkv.bias[2 * inner :] = old.v_bias
    new.proj.load_state_dict(old.proj.state_dict())
    if new.relative_position_bias_table is not None:
        new.relative_position_bias_table.copy_(old.relative_position_bias_table)
    new.fused_attn = old.fused_attn
    return new
