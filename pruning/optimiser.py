"""AdamW in groups by depth, and the share of the learning rate at every step."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from dgprune.models import Transformer, blocks_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Share of the learning rate: linear up over `warmup` steps, then half a cosine to 0."""

    warmup: float
    total: int

    @classmethod
    def after(cls, warmup: float, *, total: int) -> "Schedule":
        """The schedule of `total` steps: a warm-up, where there is one, takes a whole step."""
        return cls(warmup=max(1.0, warmup) if warmup else 0.0, total=total)

    def __call__(self, step: int) -> float:
        """The share at `step`, counted from 0."""
        if step < self.warmup:
            return (step + 1) / (self.warmup + 1)
        done = (step - self.warmup) / max(1.0, self.total - self.warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def adamw(
    model: Transformer,
    extra: Iterable[nn.Parameter],
    *,
    learning_rate: float,
    weight_decay: float,
    layer_decay: float,
) -> torch.optim.AdamW:
    """The optimiser of `model` and of the `extra` parameters, which learn at the full rate.

    A block that is k blocks below the classifier learns at `layer_decay` to the power of k, the
    embedding slowest (Clark et al. 2020; BEiT's recipe, Bao et al. 2022). 1 is one rate for all.
    """
    depth = len(blocks_of(model)) + 1
    layers: dict[int, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        layer = depth if layer_decay == 1 else _layer_of(name, depth)
        layers.setdefault(layer, []).append(parameter)
    layers[depth] += extra
    groups = [
        {"params": found, "lr": learning_rate * layer_decay ** (depth - k)}
        for k, found in sorted(layers.items())
    ]
    on_gpu = next(model.parameters()).is_cuda
    return torch.optim.AdamW(
        groups, lr=learning_rate, weight_decay=weight_decay, fused=True if on_gpu else None
    )


def _layer_of(name: str, depth: int) -> int:
    """0 for the embedding, 1 and up for the blocks, `depth` for what follows them."""
    part = name.split(".")
    if part[0] == "blocks":
        return int(part[1]) + 1
    embedding = ("patch_embed", "pos_embed", "cls_token", "dist_token", "reg_token", "norm_pre")
    return 0 if part[0] in embedding else depth
