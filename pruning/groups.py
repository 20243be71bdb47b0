"""The dependency groups of a ViT, found by torch-pruning's graph and scored as wholes.

Every prunable unit is coupled to others: a channel of the residual stream runs through each layer
that reads or writes it, an attention channel ties a row of q, k and v to a column of proj, an MLP
unit a row of fc1 to a column of fc2. torch-pruning's DependencyGraph (Fang et al. 2023) finds these
couplings by tracing; they are never listed by hand here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import torch
import torch_pruning as tp
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from dgprune.models import Transformer, blocks_of, set_fused_attention
from pruning.plan import missed_edge
from pruning.ranking import Scores, UnitScores

Sensitivity = Callable[[Tensor], Tensor]
_SAVED = tuple(
    f"_saved_{name}"
    for name in (
        *("self_sizes", "self_sym_sizes", "split_sizes", "split_size"),
        *("dim", "start", "end", "step"),
    )
)


@dataclass(frozen=True, kw_only=True)
class Groups:
    """A traced graph with the root layer of every prunable axis.

    Where `edge_missed`, one residual edge was taken out of the graph, so that the stream is two
    groups: the ablation of `--drop-dependency residual`.
    """

    graph: tp.DependencyGraph
    model: Transformer
    edge_missed: bool = False

    @property
    def width_root(self) -> nn.Conv2d:
        """The layer whose output channels are the residual stream."""
        root = self.model.patch_embed.proj
        assert isinstance(root, nn.Conv2d)
        return root

    @property
    def width_after_root(self) -> nn.Linear:
        """The first layer that writes to the stream behind the missed edge."""
        root = blocks_of(self.model)[missed_edge(len(self.model.blocks))].mlp.fc2
        assert isinstance(root, nn.Linear)
        return root

    def qkv(self, block: int) -> nn.Linear:
        """The layer whose first third of outputs (q) stands for the attention channels."""
        root = blocks_of(self.model)[block].attn.qkv
        assert isinstance(root, nn.Linear)
        return root

    def fc1(self, block: int) -> nn.Linear:
        """The layer whose outputs are the MLP units."""
        root = blocks_of(self.model)[block].mlp.fc1
        assert isinstance(root, nn.Linear)
        return root


def trace_groups(model: Transformer, *, miss_edge: bool = False) -> Groups:
    """Traces `model`, whose attention is unfused from here on (the graph sees each product).

    `miss_edge` leaves out the shortcut around one MLP on purpose, to see what that costs.
    """
    set_fused_attention(model, False)
    parameter = next(model.parameters())
    size = model.patch_embed.img_size
    example = torch.zeros(1, 3, *size, device=parameter.device)
    # The graph needs the nodes that autograd makes, not the activations that they would keep.
    nothing_kept = saved_tensors_hooks(lambda tensor: None, lambda nothing: nothing)
    with torch.enable_grad(), nothing_kept:
        graph = tp.DependencyGraph().build_dependency(
            model,
            example,
            unwrapped_parameters=width_parameters(model),
            ignored_params=position_tables(model),
            verbose=False,
        )
    _forget_autograd(graph)
    groups = Groups(graph=graph, model=model, edge_missed=miss_edge)
    if miss_edge:
        _miss_edge(groups)
    return groups


def _forget_autograd(graph: tp.DependencyGraph) -> None:
    """Replaces autograd's nodes by the numbers that torch-pruning reads off them.

    They would hold on to every weight that was traced, also after it was cut.
    """
    for node in graph.module2node.values():
        for owner in (node, node.module):
            traced = getattr(owner, "grad_fn", None)
            if traced is not None:
                saved = {name: getattr(traced, name) for name in _SAVED if hasattr(traced, name)}
                owner.grad_fn = SimpleNamespace(**saved)


def _miss_edge(groups: Groups) -> None:
    """Takes the dependency between the stream before and behind one MLP out of the graph."""
    block = blocks_of(groups.model)[missed_edge(len(groups.model.blocks))]
    nodes = groups.graph.module2node
    (stream,) = nodes[block.norm2].inputs
    added = nodes[block.mlp.fc2]
    while stream not in added.inputs:  # a layer scale may stand between fc2 and the sum
        (added,) = added.outputs
    for one, other in ((stream, added), (added, stream)):
        one.dependencies = [edge for edge in one.dependencies if edge.target is not other]


def width_parameters(model: Transformer) -> list[tuple[nn.Parameter, int]]:
    """Parameters outside of layers (tokens, positions, layer scales) and their width axis."""
    owned = {
        id(p)
        for module in model.modules()
        if isinstance(module, nn.Linear | nn.Conv2d | nn.LayerNorm)
        for p in module.parameters(recurse=False)
    }
    owned |= {id(table) for table in position_tables(model)}
    return [(p, p.ndim - 1) for p in model.parameters() if id(p) not in owned]


def position_tables(model: Transformer) -> list[nn.Parameter]:
    """BEiT's tables of bias by relative position: a column belongs to a head, not to a channel."""
    tables = [getattr(b.attn, "relative_position_bias_table", None) for b in blocks_of(model)]
    return [table for table in tables if table is not None]


def layer_scales(model: Transformer) -> dict[int, Tensor]:
    """The layer scale [width] behind each parameter of proj and fc2 that has one, by id.

    DeiT III multiplies what a block adds to the stream by a learnt vector, so the size of those
    weights alone says nothing.
    """
    scales: dict[int, Tensor] = {}
    for block in blocks_of(model):
        for name, layer in (("ls1", block.attn.proj), ("ls2", block.mlp.fc2)):
            gamma = getattr(getattr(block, name, None), "gamma", None)
            if gamma is not None:
                scales |= {id(p): gamma.detach() for p in layer.parameters()}
    return scales


def score_groups(groups: Groups, sensitivity: Sensitivity) -> UnitScores:
    """Sum of `sensitivity` over each group, a score per unit.

    `sensitivity(parameter)` is elementwise, in the parameter's shape. Tokens and position
    embeddings follow their group and are not scored.
    """
    model = groups.model
    width, behind = groups.width_root, groups.width_after_root
    attention, mlp = [], []
    for index, block in enumerate(blocks_of(model)):
        qkv, fc1 = groups.qkv(index), groups.fc1(index)
        heads = block.attn.num_heads
        channels = qkv.out_features // 3
        scores = _unit_sums(groups.graph, qkv, channels, sensitivity)
        attention.append(scores.reshape(heads, channels // heads) / 2)
        mlp.append(_unit_sums(groups.graph, fc1, fc1.out_features, sensitivity))
    return UnitScores(
        width=_unit_sums(groups.graph, width, width.out_channels, sensitivity),
        qk=tuple(attention),  # the group ties q, k and v, so each is half of its score
        value=tuple(attention),
        mlp=tuple(mlp),
        width_after=(
            _unit_sums(groups.graph, behind, behind.out_features, sensitivity)
            if groups.edge_missed
            else None
        ),
    )


def _unit_sums(
    graph: tp.DependencyGraph, root: nn.Module, units: int, sensitivity: Sensitivity
) -> Scores:
    """Score of each of the first `units` outputs of `root`: the sum over all coupled to it."""
    sums = np.zeros(units)
    group = graph.get_pruning_group(root, _out_channels_fn(root), list(range(units)))
    for member in group.items:
        layer = member.dep.target.module
        if not isinstance(layer, nn.Linear | nn.Conv2d | nn.LayerNorm):
            continue
        is_output = graph.is_out_channel_pruning_fn(member.dep.handler)
        channels = _channel_sums(layer, is_output, sensitivity)[np.asarray(member.idxs)]
        np.add.at(sums, np.asarray(member.root_idxs), channels)
    return sums


def _channel_sums(
    layer: nn.Linear | nn.Conv2d | nn.LayerNorm, is_output: bool, sensitivity: Sensitivity
) -> Scores:
    """Sum of the sensitivity of all weights of each output (or input) channel of one layer."""
    weight = sensitivity(layer.weight).double()
    if weight.ndim == 1:
        sums = weight
    else:
        sums = weight.flatten(1).sum(1 if is_output else 0)
    if is_output and layer.bias is not None:
        sums = sums + sensitivity(layer.bias).double()
    return sums.detach().cpu().numpy()


def _out_channels_fn(root: nn.Module) -> Callable[..., nn.Module]:
    pruner = (
        tp.prune_conv_out_channels if isinstance(root, nn.Conv2d) else tp.prune_linear_out_channels
    )
    return pruner  # type: ignore[no-any-return]


def remove(groups: Groups, root: nn.Module, indices: list[int]) -> None:
    """Removes the outputs `indices` of `root` and everything coupled to them, in place."""
    if indices:
        groups.graph.get_pruning_group(root, _out_channels_fn(root), indices).prune()
