"""The refit: what is left of the model takes over for what was cut, by least squares.

The linear layers of the pruned model are visited in the order of the forward pass, each with what
really reaches it by then, so that a layer also makes up for what those before it lost. Wanted of
qkv, fc1 and the classifier is the output of the dense layer; of proj and fc2, which write to the
residual stream, it is what brings the stream itself to the dense one. No labels and no gradients.
Memory is that of one layer's second moments (`pruning.least_squares`) and of one batch: the streams
of all images lie in temporary files, or on a GPU that has room for them and then computes it all.
"""

import contextlib
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from dgprune.models import Transformer, blocks_of
from dgprune.progress import SILENT, Progress
from dgprune.store import explained
from pruning.device import fits, pick_device, placed
from pruning.least_squares import Sample, improve
from pruning.plan import BlockPlan, Plan

_BATCH = 32


@dataclass(frozen=True)
class _Streams:
    """The residual stream [n, tokens, width] of every image, in the dense and the pruned model."""

    dense: Tensor
    pruned: Tensor

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """A batch of each at a time: views, to read and to write."""
        for start in range(0, len(self.dense), _BATCH):
            yield self.dense[start : start + _BATCH], self.pruned[start : start + _BATCH]


@dataclass(frozen=True)
class _Branch:
    """Half a block: what attention or the MLP adds to the stream, and its linear layers."""

    norm: nn.Module
    body: nn.Module
    first: nn.Linear
    last: nn.Linear
    scale: Any  # timm's LayerScale, where there is one

    def enter(self, stream: Tensor) -> Tensor:
        """What reaches the first layer."""
        return cast(Tensor, self.norm(stream))

    def __call__(self, stream: Tensor) -> Tensor:
        added: Tensor = self.body(self.enter(stream))
        return added if self.scale is None else added * self.scale.gamma

    def before_scale(self, added: Tensor) -> Tensor:
        """What the last layer must give for `added`; 0 where a scale of 0 lets nothing through."""
        if self.scale is None:
            return added
        scale: Tensor = self.scale.gamma
        return torch.where(scale == 0, torch.zeros_like(added), added / scale)


def _branches(block: Any) -> tuple[_Branch, _Branch]:
    attention, mlp = block.attn, block.mlp
    scales = getattr(block, "ls1", None), getattr(block, "ls2", None)
    first, second = (scale if hasattr(scale, "gamma") else None for scale in scales)
    return (
        _Branch(block.norm1, attention, attention.qkv, attention.proj, first),
        _Branch(block.norm2, mlp, mlp.fc1, mlp.fc2, second),
    )


@torch.no_grad()
def refit(
    dense: Transformer,
    pruned: Transformer,
    plan: Plan,
    inputs: Tensor,
    *,
    keep_scale: bool = True,
    progress: Progress = SILENT,
) -> None:
    """Refits `pruned`, which `apply_plan` made of `dense` by `plan`, in place.

    `inputs` [n, 3, px, px] are source images; `keep_scale` says how the plan was applied. The
    ablation that misses a residual edge gets no help across it: its streams hold other channels
    before and behind, so there every layer is only fitted to its own dense one.
    """
    depth, whole = len(plan.blocks), not plan.width_after
    device = pick_device()
    if not fits(_streams_bytes(dense, pruned, len(inputs)), device):
        device = torch.device("cpu")
    scratch = tempfile.TemporaryDirectory(prefix="dgprune-refit-")
    with placed(device, dense, pruned), scratch as folder:
        streams = _Streams(
            _embedded(dense, inputs, Path(folder, "dense")),
            _embedded(pruned, inputs, Path(folder, "pruned")),
        )
        for index in progress.track(range(depth), depth, "refitting"):
            old, new = blocks_of(dense)[index], blocks_of(pruned)[index]
            kept = plan.blocks[index]
            rows = (_kept_qkv(kept, old, new, keep_scale), _Kept(list(kept.mlp)))
            halves = zip(_branches(old), _branches(new), rows, strict=True)
            for half, (before, after, entry) in enumerate(halves, start=1):
                improve(after.first, _lacking_inside(before, after, entry, streams))
                channels = plan.width_at(2 * index + half)
                improve(after.last, _lacking_outside(before, after, channels, streams, whole))
                for _, stream in streams:
                    stream += after(stream)
        for name in ("head", "head_dist"):
            if hasattr(dense, name):
                improve(getattr(pruned, name), _lacking_classes(dense, pruned, name, streams))


@dataclass(frozen=True)
class _Kept:
    """The rows of a dense layer that are kept, and by what each was multiplied."""

    rows: list[int]
    factors: Tensor | None = None

    def of(self, output: Tensor) -> Tensor:
        """What the pruned layer should give where the dense one gives `output` [..., rows]."""
        kept = output[..., self.rows]
        return kept if self.factors is None else kept * self.factors


def _kept_qkv(kept: BlockPlan, old: Any, new: Any, keep_scale: bool) -> _Kept:
    """Rows of q, k and v; with `keep_scale` those of q were rescaled (see `apply_plan`)."""
    channels, dims = old.attn.attn_dim, old.attn.head_dim
    qk, value = kept.qk_channels(dims), kept.value_channels(dims)
    rows = [part * channels + c for part, some in enumerate((qk, qk, value)) for c in some]
    factors = torch.ones(len(rows), device=old.attn.qkv.weight.device)
    if keep_scale:
        factors[: len(qk)] = math.sqrt(new.attn.head_dim / dims)
    return _Kept(rows, factors)


def _lacking_inside(
    before: _Branch, after: _Branch, kept: _Kept, streams: _Streams
) -> Iterator[Sample]:
    """What qkv or fc1 lacks of the dense one."""
    for dense, pruned in streams:
        entering = after.enter(pruned)
        yield kept.of(before.first(before.enter(dense))) - after.first(entering), entering


def _lacking_outside(
    before: _Branch, after: _Branch, channels: list[int], streams: _Streams, whole: bool
) -> Iterator[Sample]:
    """What proj or fc2 lacks of the dense stream, which advances here, or of its branch alone."""
    for dense, pruned in streams:
        added = before(dense)
        dense += added
        wanted = dense[..., channels] - pruned if whole else added[..., channels]
        entering, given = _entering(after.last, after, pruned)
        yield after.before_scale(wanted - given), entering


def _lacking_classes(
    dense: Transformer, pruned: Transformer, name: str, streams: _Streams
) -> Iterator[Sample]:
    """What a classifier lacks of the dense one's logits."""
    old, new = getattr(dense, name), getattr(pruned, name)
    for wide, narrow in streams:
        features, _ = _entering(old, _classify(dense), wide)
        entering, _ = _entering(new, _classify(pruned), narrow)
        yield old(features) - new(entering), entering


def _classify(model: Transformer) -> Callable[[Tensor], Tensor]:
    """Logits of a stream that has left the last block."""
    return lambda stream: model.forward_head(model.norm(stream))


def _entering(
    layer: nn.Module, forward: Callable[[Tensor], Tensor], stream: Tensor
) -> tuple[Tensor, Tensor]:
    """What reaches `layer` in `forward` of `stream`, and what `forward` gives."""
    seen: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        given = forward(stream)
    finally:
        handle.remove()
    return seen[0], given


class _Stop(Exception):
    """The forward pass has gone as far as it was needed."""


def _streams_bytes(dense: Transformer, pruned: Transformer, images: int) -> int:
    """Size of both streams; a model has two tokens beside the patches at most."""
    tokens: int = dense.patch_embed.num_patches + 2
    return 4 * images * tokens * (dense.embed_dim + pruned.embed_dim)


def _embedded(model: Transformer, inputs: Tensor, file: Path) -> Tensor:
    """The stream [n, tokens, width] that reaches the first block, on the GPU or in a file."""
    device = next(model.parameters()).device
    seen: list[Tensor] = []

    def stop(module: nn.Module, reaching: tuple[Tensor, ...]) -> None:
        seen.append(reaching[0])
        raise _Stop

    handle = blocks_of(model)[0].register_forward_pre_hook(stop)
    stream: Tensor | None = None
    try:
        for start in range(0, len(inputs), _BATCH):
            with contextlib.suppress(_Stop):
                model(inputs[start : start + _BATCH].to(device))
            part = seen.pop()
            if stream is None:
                shape = (len(inputs), *part.shape[1:])
                stream = part.new_empty(shape) if part.is_cuda else _in_file(file, shape)
            stream[start : start + _BATCH] = part
    finally:
        handle.remove()
    assert stream is not None
    return stream


def _in_file(file: Path, shape: tuple[int, ...]) -> Tensor:
    """Zeros of `shape` that lie in `file`, all of which is claimed at once.

    A disk that fills up under a mapped file would kill the process without a word.
    """
    with explained(file.parent, "TMPDIR"), file.open("wb") as new:
        os.posix_fallocate(new.fileno(), 0, 4 * math.prod(shape))
    stream = torch.from_numpy(np.memmap(file, np.float32, "r+", shape=shape))
    file.unlink()  # the mapping stays; a killed run leaves nothing
    return stream
