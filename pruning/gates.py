"""The criterion `fisher`: the empirical Fisher information of a gate of one on every unit.

A gate multiplies a unit's activation; closing it removes the unit. The derivative of a sample's
loss by the gate is the sum over tokens of activation times its gradient, which one ordinary
backward pass over a batch gives for every sample at once. The score is the sum over samples of its
square: to second order, what closing the gate costs (Theis et al. 2018; LeCun et al. 1990).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from dgprune.models import Transformer, blocks_of
from dgprune.progress import SILENT, Progress
from pruning.plan import missed_edge
from pruning.ranking import Scores, UnitScores

_BATCH = 32
Receive = Callable[[Tensor], None]


@dataclass(kw_only=True)
class _Totals:
    """Sums of squared gate derivatives, and the derivatives of the width of the batch under way.

    The width's are kept apart before and behind a missed residual edge, where there is one.
    """

    qk: list[Scores]
    value: list[Scores]
    mlp: list[Scores]
    width: Scores
    width_after: Scores
    width_of_batch: list[Tensor] = field(default_factory=list)
    width_after_of_batch: list[Tensor] = field(default_factory=list)

    def attention(self, index: int, heads: int) -> Receive:
        def receive(gate: Tensor) -> None:  # gate: [batch, 3 * heads * dims]
            parts = gate.view(len(gate), 3, heads, -1)
            self.qk[index] += _squares(parts[:, 0])
            self.value[index] += _squares(parts[:, 2])

        return receive

    def hidden(self, index: int) -> Receive:
        def receive(gate: Tensor) -> None:
            self.mlp[index] += _squares(gate)

        return receive

    def close_batch(self) -> None:
        """Squares the width's derivatives, which many writers contribute to."""
        self.width += _squares(torch.stack(self.width_of_batch).sum(0))
        self.width_of_batch.clear()
        if self.width_after_of_batch:
            self.width_after += _squares(torch.stack(self.width_after_of_batch).sum(0))
            self.width_after_of_batch.clear()


def gate_fisher(
    model: Transformer,
    inputs: Tensor,
    labels: Tensor,
    progress: Progress = SILENT,
    *,
    edge_missed: bool = False,
) -> UnitScores:
    """Fisher score of every unit, summed over samples: inputs [n, 3, px, px], labels [n].

    q and k share a gate on their product, v has its own. Weights are neither changed nor
    differentiated. With `edge_missed` the stream has two gates a channel, before and behind.
    """
    totals, device = _empty(model), next(model.parameters()).device
    handles = _listen(model, totals, edge_missed)
    needed = {name: p.requires_grad for name, p in model.named_parameters()}
    model.requires_grad_(False)
    try:
        starts = range(0, len(labels), _BATCH)
        for start in progress.track(starts, len(starts), "scoring"):
            images = inputs[start : start + _BATCH].to(device, copy=True).requires_grad_(True)
            logits = model(images)
            targets = labels[start : start + _BATCH].to(device)
            loss = functional.cross_entropy(logits, targets, reduction="sum")
            loss.backward()  # type: ignore[no-untyped-call]
            del logits, loss  # or this batch's activations would live through the next pass
            totals.close_batch()
    finally:
        for handle in handles:
            handle.remove()
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(needed[name])
    return UnitScores(
        width=totals.width,
        qk=tuple(totals.qk),
        value=tuple(totals.value),
        mlp=tuple(totals.mlp),
        width_after=totals.width_after if edge_missed else None,
    )


def _empty(model: Transformer) -> _Totals:
    blocks = blocks_of(model)
    shapes = [(b.attn.num_heads, b.attn.qkv.out_features // 3 // b.attn.num_heads) for b in blocks]
    return _Totals(
        qk=[np.zeros(shape) for shape in shapes],
        value=[np.zeros(shape) for shape in shapes],
        mlp=[np.zeros(b.mlp.fc1.out_features) for b in blocks],
        width=np.zeros(model.patch_embed.proj.out_channels),
        width_after=np.zeros(model.patch_embed.proj.out_channels),
    )


def _listen(model: Transformer, totals: _Totals, edge_missed: bool) -> list[RemovableHandle]:
    """Hooks on every activation that has gates; for the width, on all that writes to it."""
    handles = []
    last_before = 2 * missed_edge(len(model.blocks)) if edge_missed else 2 * len(model.blocks)
    for index, block in enumerate(blocks_of(model)):
        receive = totals.attention(index, block.attn.num_heads)
        handles.append(block.attn.qkv.register_forward_hook(_on_output(receive)))
        handles.append(block.mlp.fc2.register_forward_pre_hook(_on_input(totals.hidden(index))))
        for place, writer in enumerate((block.drop_path1, block.drop_path2), start=2 * index):
            before = place <= last_before
            gates = totals.width_of_batch if before else totals.width_after_of_batch
            handles.append(writer.register_forward_hook(_on_output(gates.append)))
    handles.append(model.pos_drop.register_forward_hook(_on_output(totals.width_of_batch.append)))
    return handles


def _on_output(receive: Receive) -> Callable[..., None]:
    def hook(module: object, inputs: object, output: Tensor) -> None:
        _watch(output, receive)

    return hook


def _on_input(receive: Receive) -> Callable[..., None]:
    def hook(module: object, inputs: tuple[Tensor, ...]) -> None:
        _watch(inputs[0], receive)

    return hook


def _watch(activation: Tensor, receive: Receive) -> None:
    """Hands the gates' derivatives [batch, units] on when the gradient of `activation` is there."""
    kept = activation.detach()

    def on_gradient(gradient: Tensor) -> None:
        receive((kept * gradient).sum(1))

    activation.register_hook(on_gradient)  # type: ignore[no-untyped-call]


def _squares(gates: Tensor) -> Scores:
    return np.asarray(gates.double().square().sum(0).cpu().numpy())
