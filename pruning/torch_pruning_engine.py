"""The paper-faithful engine: torch-pruning's own pruner and importance, unchanged.

It stands for what the paper (arXiv 2504.04196) most probably ran, with what that does: the Hessian
keeps the last sample only, since `accumulate_grad` stores under another key than it tests; a group
that would be emptied stays whole; timm's fused attention divides by the new head dimension, which
moves the logits; and of timm's own BEiT, whose qkv no hook sees, only the MLPs are pruned.
`skipped_axes` names what stayed whole. The correct engine is the rest of this package.
"""

import copy
import warnings
from collections.abc import Callable
from typing import Any

import dgprune.torchvision_shim  # noqa: F401 - makes timm importable

import torch
import torch_pruning as tp
from timm.models.beit import Beit
from torch.nn import functional

from dgprune.beit import plain
from dgprune.models import (
    Transformer,
    blocks_of,
    rebuild,
    set_fused_attention,
    structure_of,
)
from dgprune.progress import SILENT, Progress
from dgprune.structure import Structure
from dgprune.timm_form import stock_beit
from pruning.criteria import Calibration
from pruning.groups import width_parameters
from pruning.ranking import Ranking

_AT_ONCE = 8  # images
_IMPORTANCE: dict[str, Callable[[], Any]] = {
    "hessian": tp.importance.GroupHessianImportance,
    "taylor": tp.importance.GroupTaylorImportance,
    "l1": lambda: tp.importance.GroupMagnitudeImportance(p=1),
    "l2": lambda: tp.importance.GroupMagnitudeImportance(p=2),
    "random": tp.importance.RandomImportance,
}


def prune_by_torch_pruning(
    model: Transformer,
    name: str,
    *,
    criterion: str,
    ranking: Ranking,
    ratio: float,
    calibration: Calibration | None,
    seed: int,
    progress: Progress = SILENT,
) -> Transformer:
    """A pruned copy of `model` (timm name `name`), as torch-pruning leaves it.

    Raises DgpruneError for a model that it breaks.
    """
    pruned = stock_beit(model, name) if isinstance(model, Beit) else copy.deepcopy(model)
    set_fused_attention(pruned, False)
    torch.manual_seed(seed)
    importance = _IMPORTANCE[criterion]()
    if calibration is not None:
        _accumulate(pruned, importance, criterion, calibration, progress)
    with warnings.catch_warnings():  # of the biases by position, which are no channels
        warnings.filterwarnings("ignore", message="Unwrapped parameters detected")
        pruner = _pruner(pruned, importance, ranking, ratio)
    pruner.step()
    for block in blocks_of(pruned):
        block.attn.num_heads = pruner.num_heads[block.attn.qkv]
    pruned.embed_dim = pruned.patch_embed.proj.out_channels
    pruned = plain(pruned) if isinstance(pruned, Beit) else pruned
    return rebuild(structure_of(pruned, name), dict(pruned.state_dict()))


def _pruner(pruned: Transformer, importance: Any, ranking: Ranking, ratio: float) -> Any:
    heads = {block.attn.qkv: block.attn.num_heads for block in blocks_of(pruned)}
    return tp.pruner.MetaPruner(
        pruned,
        torch.zeros(1, 3, *pruned.patch_embed.img_size),
        importance=importance,
        global_pruning=ranking != "local",
        isomorphic=ranking == "isomorphic",
        pruning_ratio=ratio,
        ignored_layers=_classifiers(pruned),
        num_heads=dict(heads),
        out_channel_groups={},  # its default is one dictionary that all pruners share
        in_channel_groups={},
        unwrapped_parameters=width_parameters(pruned),
    )


def _classifiers(model: Transformer) -> list[Any]:
    return [getattr(model, name) for name in ("head", "head_dist") if hasattr(model, name)]


def skipped_axes(before: Structure, after: Structure) -> list[str]:
    """Axes that kept every unit although a ratio was asked for."""
    skipped = ["width"] if before.embed_dim == after.embed_dim else []
    for index, (old, new) in enumerate(zip(before.blocks, after.blocks, strict=True)):
        if old.attention_dim == new.attention_dim:
            skipped.append(f"attention of block {index}")
        if old.mlp_hidden == new.mlp_hidden:
            skipped.append(f"MLP of block {index}")
    return skipped


def _accumulate(
    model: Transformer,
    importance: Any,
    criterion: str,
    calibration: Calibration,
    progress: Progress,
) -> None:
    """Gradients in the way of torch-pruning's documentation, a sample or a batch at a time.

    The batch goes through in parts whose gradients add up to its own: at once it would need 140 MiB
    an image (DeiT-Base at 224 px).
    """
    model.zero_grad()
    samples = range(len(calibration.labels))
    if criterion == "taylor":
        for i in samples[::_AT_ONCE]:
            logits = model(calibration.inputs[i : i + _AT_ONCE])
            labels = calibration.labels[i : i + _AT_ONCE]
            loss = functional.cross_entropy(logits, labels, reduction="sum") / len(samples)
            loss.backward()  # type: ignore[no-untyped-call]
        return
    importance.zero_grad()
    for i in progress.track(samples, len(samples), "scoring"):
        model.zero_grad()
        logits = model(calibration.inputs[i : i + 1])
        functional.cross_entropy(logits, calibration.labels[i : i + 1]).backward()  # type: ignore[no-untyped-call]
        importance.accumulate_grad(model)
