"""Least-squares refit: what is left of a layer's input takes over for what was cut.

For a linear layer W x + b whose input shrinks from x to y, the weights that reproduce its output
best on real images are W' = W Cov(x, y) (Cov(y, y) + ridge)^-1 and b' = b + W mean(x) - W' mean(y).
y is a part of x where heads, head dimensions or MLP units go (proj, fc2), and the LayerNorm of the
narrower stream where the width goes (qkv, fc1, classifier). The same closed form is behind OBS
(Hassibi and Stork 1993) and SlimGPT (Ling et al. 2024). One forward pass over unlabelled source
images, no gradients.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from dgprune.models import Transformer, VisionTransformer, blocks_of
from dgprune.progress import SILENT, Progress
from pruning.plan import Plan

RIDGE = 1e-2
_BATCH = 32
Pick = Callable[[Tensor], Tensor]
Refitted = dict[str, tuple[Tensor, Tensor | None]]


class Moments:
    """Streamed first and second moments of x [a] and y [k]; memory is that of the two matrices."""

    def __init__(self, inputs: int, kept: int) -> None:
        self.count = 0
        self.sum_x = torch.zeros(inputs, dtype=torch.float64)
        self.sum_y = torch.zeros(kept, dtype=torch.float64)
        self.xy = torch.zeros(inputs, kept, dtype=torch.float64)
        self.yy = torch.zeros(kept, kept, dtype=torch.float64)

    def add(self, x: Tensor, y: Tensor) -> None:
        """Adds samples x [..., a] and y [..., k]."""
        x, y = x.detach().flatten(0, -2), y.detach().flatten(0, -2)
        self.count += len(x)
        self.sum_x += x.sum(0).cpu()
        self.sum_y += y.sum(0).cpu()
        self.xy += (x.T @ y).cpu()
        self.yy += (y.T @ y).cpu()

    def solve(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """W' [out, k] and b' [out] for W [out, a] and b [out]; without b the moments stay raw."""
        n, w = self.count, weight.detach().double().cpu()
        centre = 0.0 if bias is None else 1.0
        mean_x, mean_y = self.sum_x / n * centre, self.sum_y / n * centre
        cov_xy = self.xy / n - torch.outer(mean_x, mean_y)
        cov_yy = self.yy / n - torch.outer(mean_y, mean_y)
        ridge = max(
            RIDGE * float(cov_yy.diagonal().mean()), 1e-12
        )  # constant inputs have no spread
        cov_yy += ridge * torch.eye(len(cov_yy), dtype=torch.float64)
        new = torch.linalg.solve(cov_yy, (w @ cov_xy).T).T
        if bias is None:
            return new.float(), None
        shift = bias.detach().double().cpu() + w @ mean_x - new @ mean_y
        return new.float(), shift.float()


@dataclass(frozen=True, kw_only=True)
class _Layer:
    """A linear layer to refit: its moments, and the rows of the dense weight that are kept."""

    moments: Moments
    rows: list[int]


@torch.no_grad()
def refit(model: Transformer, plan: Plan, inputs: Tensor, progress: Progress = SILENT) -> Refitted:
    """New weight and bias of every layer whose input `plan` shrinks, by the layer's name.

    `inputs` [n, 3, px, px] are source images; labels are not needed.
    """
    layers: dict[str, _Layer] = {}
    handles = _listen_inside(model, plan, layers)
    if len(plan.width) < model.patch_embed.proj.out_channels:
        handles += _listen_to_norms(model, plan, layers)
    try:
        starts = range(0, len(inputs), _BATCH)
        for start in progress.track(starts, len(starts), "refitting"):
            model(inputs[start : start + _BATCH])
    finally:
        for handle in handles:
            handle.remove()
    found: Refitted = {}
    for name, layer in layers.items():
        dense = model.get_submodule(name)
        assert isinstance(dense, nn.Linear)
        bias = None if dense.bias is None else dense.bias[layer.rows]
        found[name] = layer.moments.solve(dense.weight[layer.rows], bias)
    return found


@torch.no_grad()
def write(model: Transformer, refitted: Mapping[str, tuple[Tensor, Tensor | None]]) -> None:
    """Puts refitted weights into the pruned `model`, in place."""
    for name, (weight, bias) in refitted.items():
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(bias)


def _listen_inside(
    model: Transformer, plan: Plan, layers: dict[str, _Layer]
) -> list[RemovableHandle]:
    """Proj and fc2: y is the kept part of x."""
    handles = []
    for index, (block, kept) in enumerate(zip(blocks_of(model), plan.blocks, strict=True)):
        values = list(kept.value_channels(block.attn.head_dim))
        parts = [("attn.proj", block.attn.proj, values), ("mlp.fc2", block.mlp.fc2, list(kept.mlp))]
        for place, (name, layer, columns) in enumerate(parts, start=2 * index + 1):
            if len(columns) < layer.in_features:
                moments, rows = Moments(layer.in_features, len(columns)), plan.width_at(place)
                layers[f"blocks.{index}.{name}"] = _Layer(moments=moments, rows=rows)
                handles.append(layer.register_forward_pre_hook(_select(moments, columns)))
    return handles


def _select(moments: Moments, columns: list[int]) -> Callable[..., None]:
    def hook(module: object, inputs: tuple[Tensor, ...]) -> None:
        moments.add(inputs[0], inputs[0][..., columns])

    return hook


def _listen_to_norms(
    model: Transformer, plan: Plan, layers: dict[str, _Layer]
) -> list[RemovableHandle]:
    """qkv, fc1 and classifier: y is the LayerNorm of the kept part of the stream."""
    handles, end = [], 2 * len(plan.blocks)

    def listen(
        norm: nn.LayerNorm, name: str, rows: list[int], pick: Pick | None, place: int = end
    ) -> None:
        width = plan.width_at(place)
        layers[name] = _Layer(moments=Moments(len(norm.weight), len(width)), rows=rows)
        handles.append(norm.register_forward_hook(_narrow(layers[name].moments, width, pick)))

    for index, (block, kept) in enumerate(zip(blocks_of(model), plan.blocks, strict=True)):
        dims, channels = block.attn.head_dim, block.attn.attn_dim
        qk, values = kept.qk_channels(dims), kept.value_channels(dims)
        parts = (qk, qk, values)
        rows = [part * channels + c for part, chosen in enumerate(parts) for c in chosen]
        listen(block.norm1, f"blocks.{index}.attn.qkv", rows, None, 2 * index)
        listen(block.norm2, f"blocks.{index}.mlp.fc1", list(kept.mlp), None, 2 * index + 1)
    classes = list(range(model.num_classes))
    if isinstance(model.norm, nn.Identity):
        assert isinstance(model.fc_norm, nn.LayerNorm)
        listen(model.fc_norm, "head", classes, None)
        return handles
    assert isinstance(model.norm, nn.LayerNorm)
    if hasattr(model, "head_dist"):
        listen(model.norm, "head", classes, lambda tokens: tokens[:, 0])
        listen(model.norm, "head_dist", classes, lambda tokens: tokens[:, 1])
    elif isinstance(model, VisionTransformer):
        listen(model.norm, "head", classes, model.pool)
    return handles


def _narrow(moments: Moments, width: list[int], pick: Pick | None) -> Callable[..., None]:
    def hook(norm: nn.LayerNorm, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        stream = inputs[0][..., width]
        kept = functional.layer_norm(
            stream, (len(width),), norm.weight[width], norm.bias[width], norm.eps
        )
        moments.add(*((output, kept) if pick is None else (pick(output), pick(kept))))

    return hook
