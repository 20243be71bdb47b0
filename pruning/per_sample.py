"""Moments of per-sample gradients, out of ordinary backward passes over batches.

For a linear layer the gradient of one sample is the product of the gradient of its output and its
input, summed over tokens (Goodfellow 2015). Both are there during a batch's backward pass, so each
sample's gradient is formed a layer at a time, added up, and forgotten: no sample needs a pass of
its own, and memory is that of a training step.
"""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from dgprune.models import Transformer
from dgprune.progress import SILENT, Progress

_BATCH = 16
Moments = dict[str, Tensor]
_Layer = nn.Linear | nn.Conv2d | nn.LayerNorm


def gradient_moments(
    model: Transformer,
    inputs: Tensor,
    labels: Tensor,
    *,
    second_order: bool,
    progress: Progress = SILENT,
) -> Moments:
    """Mean over samples of g^2 (`second_order`) or |g|, for every weight and bias of a layer.

    g is the gradient of one sample's cross-entropy; `inputs` [n, 3, px, px], `labels` [n]. Tokens,
    position embeddings and layer scales are in no score, and left out. Weights are neither changed
    nor differentiated.
    """
    totals = {
        f"{name}.{kind}": torch.zeros_like(value, requires_grad=False)
        for name, layer in _layers(model)
        for kind, value in layer.named_parameters(recurse=False)
    }
    add, device = _add_square if second_order else _add_magnitude, next(model.parameters()).device
    handles = [
        handle for name, layer in _layers(model) for handle in _listen(name, layer, totals, add)
    ]
    needed = {name: p.requires_grad for name, p in model.named_parameters()}
    model.requires_grad_(False)
    try:
        starts = range(0, len(labels), _BATCH)
        for start in progress.track(starts, len(starts), "scoring"):
            logits = model(inputs[start : start + _BATCH].to(device))
            targets = labels[start : start + _BATCH].to(device)
            loss = functional.cross_entropy(logits, targets, reduction="sum")
            loss.backward()  # type: ignore[no-untyped-call]
            del logits, loss  # or this batch's activations would live through the next pass
    finally:
        for handle in handles:
            handle.remove()
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(needed[name])
    return {name: total.div_(len(labels)) for name, total in totals.items()}


def _layers(model: Transformer) -> list[tuple[str, _Layer]]:
    return [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d | nn.LayerNorm)
    ]


def _add_square(total: Tensor, gradient: Tensor) -> None:
    total.addcmul_(gradient, gradient)


def _add_magnitude(total: Tensor, gradient: Tensor) -> None:
    total.add_(gradient.abs_())


def _listen(
    name: str, layer: _Layer, totals: Moments, add: Callable[[Tensor, Tensor], None]
) -> list[RemovableHandle]:
    """A hook that adds each sample's gradient of `layer` to its totals during the backward pass."""

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen = inputs[0].detach()
        if not output.requires_grad:  # the first layer: nothing before it is differentiated
            output.requires_grad_(True)
        output.register_hook(lambda gradient: receive(seen, gradient))  # type: ignore[no-untyped-call]

    def receive(seen: Tensor, gradient: Tensor) -> None:
        for one, by_output in zip(*_as_tokens(layer, seen, gradient), strict=True):
            if isinstance(layer, nn.LayerNorm):
                by_weight = (one * by_output).sum(0)
            else:
                by_weight = (by_output.T @ one).view_as(layer.weight)
            add(totals[f"{name}.weight"], by_weight)
            if layer.bias is not None:
                add(totals[f"{name}.bias"], by_output.sum(0))

    return [layer.register_forward_hook(hook)]


def _as_tokens(layer: _Layer, seen: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """What multiplies the weight [b, n, i], and the gradient of the output [b, n, o]."""
    if isinstance(layer, nn.Conv2d):
        kernel, stride = (cast(tuple[int, int], size) for size in (layer.kernel_size, layer.stride))
        patches = functional.unfold(seen, kernel, stride=stride)
        return patches.transpose(1, 2), gradient.flatten(2).transpose(1, 2)
    if isinstance(layer, nn.LayerNorm):
        seen = functional.layer_norm(seen, layer.normalized_shape, eps=layer.eps)
    if seen.ndim == 2:  # behind the pooling there is one token
        return seen.unsqueeze(1), gradient.unsqueeze(1)
    return seen, gradient
