"""What each node of a vision transformer is for, read from the shape of its graph.

Names serve for nothing here: exporters renumber them and fold the weights' away. What stays in
every format and precision is that normalisations cut a transformer into stretches: patches come
before the first one, the head after the last, and between two of them there is either a softmax or
an activation. A residual sum belongs to the stretch that it ends.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

Kind = Literal["attention", "mlp", "norm", "embedding", "head", "other"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_SOURCE = "Parameter"
_NORMS = ("LayerNormalization", "MVN")
_SCALES = ("Multiply", "Add")  # of a norm, where the format has no norm with weights
_ATTENTION = ("Softmax", "Attention", "ScaledDotProductAttention")
_ACTIVATION = ("Gelu", "Erf", "Tanh", "Sigmoid", "Relu")
_POOLING = ("ReduceMean", "Gather", "Slice", "StridedSlice")  # an MLP has none of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """An operation, the tensors that it takes and makes, and what else it is called.

    In a graph that a runtime has fused, `aliases` are the nodes that it came from.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    aliases: tuple[str, ...] = ()


def nodes_of_onnx(graph: Any) -> list[Node]:
    """Nodes of an ONNX graph, its input first."""
    source = graph.input[0].name
    return [Node(name=source, op=_SOURCE, inputs=(), outputs=(source,))] + [
        Node(name=n.name, op=n.op_type, inputs=tuple(n.input), outputs=tuple(n.output))
        for n in graph.node
    ]


def nodes_of_openvino(model: Any) -> list[Node]:
    """Nodes of an OpenVINO model, as it was read or as it was compiled."""
    return [_openvino_node(op) for op in model.get_ordered_ops()]


def _openvino_node(op: Any) -> Node:
    told = {key: value.astype(str) for key, value in op.get_rt_info().items()}
    name = op.get_friendly_name()
    tensors = [tensor for output in op.outputs() for tensor in sorted(output.get_names())]
    sources = [(v.get_node().get_friendly_name(), v.get_index()) for v in op.input_values()]
    return Node(
        name=name,
        op=told.get("layerType", op.get_type_name()),
        inputs=tuple(f"{source}:{port}" for source, port in sources),
        outputs=tuple(f"{name}:{port}" for port in range(len(op.outputs()))),
        aliases=(*filter(None, told.get("originalLayersNames", "").split(",")), *tensors),
    )


def kinds_of_nodes(nodes: Sequence[Node]) -> dict[str, Kind]:
    """Kind by every name in a graph as it was exported: of nodes, of tensors, and aliases.

    `nodes` are in the order that they are computed in. What does not depend on the input, such as
    unpacking a weight, has the kind of what it feeds. In a graph without norms all is `other`.
    """
    depths, norms = _depths(nodes)
    kinds = _kinds_by_depth(nodes, depths)
    found: list[Kind | None] = []
    for node, depth, is_norm in zip(nodes, depths, norms, strict=True):
        kind: Kind | None = "norm" if is_norm else kinds.get(depth)
        found.append("head" if kind == "mlp" and node.op in _POOLING else kind)
    return {
        name: kind
        for node, kind in zip(nodes, _spread(nodes, found), strict=True)
        for name in (node.name, *node.outputs, *node.aliases)
    }


def kinds_of_executed(nodes: Sequence[Node], known: Mapping[str, Kind]) -> dict[str, Kind]:
    """Kind by name of every node that a runtime executes, where `known` are those of its file.

    A fused node still makes a tensor of the file or tells where it came from; one that the runtime
    added, such as a reordering, has the kind of what it feeds. Without either it is `other`.
    """
    kinds = _spread(nodes, [_own_kind(node, known) for node in nodes])
    return {node.name: kind for node, kind in zip(nodes, kinds, strict=True)}


def _own_kind(node: Node, known: Mapping[str, Kind]) -> Kind | None:
    for name in (*node.outputs, node.name):
        if name in known:
            return known[name]
    votes = Counter(known[name] for name in node.aliases if name in known)
    return votes.most_common(1)[0][0] if votes else None


def _depths(nodes: Sequence[Node]) -> tuple[list[int], list[bool]]:
    """Norms between the input and each node (-1: no way leads there), and whether it is of one."""
    depth_of: dict[str, int] = {}
    normed: set[str] = set()
    depths, norms = [], []
    for node in nodes:
        live = [name for name in node.inputs if name in depth_of]
        starts = node.op in _NORMS and bool(live)
        is_norm = starts or (node.op in _SCALES and len(live) == 1 and live[0] in normed)
        depth = max((depth_of[name] for name in live), default=0 if node.op == _SOURCE else -1)
        depths.append(depth + starts)
        norms.append(is_norm)
        if depth >= 0:
            depth_of.update(dict.fromkeys(node.outputs, depths[-1]))
        if is_norm:
            normed.update(node.outputs)
    return depths, norms


def _kinds_by_depth(nodes: Sequence[Node], depths: Sequence[int]) -> dict[int, Kind]:
    """What each stretch between two norms is; a norm on the way into attention cuts none off."""
    ops: dict[int, set[str]] = defaultdict(set)
    for node, depth in zip(nodes, depths, strict=True):
        ops[depth].add(node.op)
    last = max(depths, default=0)
    if last < 1:
        return {}
    kinds: dict[int, Kind] = {last: "head"}
    for depth in range(last - 1, 0, -1):
        if ops[depth].intersection(_ATTENTION):
            kinds[depth] = "attention"
        elif ops[depth].intersection(_ACTIVATION):
            kinds[depth] = "mlp"
        else:
            kinds[depth] = kinds[depth + 1]
    return {**kinds, 0: "embedding"}


def _spread(nodes: Sequence[Node], found: Sequence[Kind | None]) -> list[Kind]:
    """`found`, its gaps filled from what a node feeds, else from what feeds it."""
    kinds = list(found)
    consumers: dict[str, list[int]] = defaultdict(list)
    for index, node in enumerate(nodes):
        for name in node.inputs:
            consumers[name].append(index)
    producers = {name: [index] for index, node in enumerate(nodes) for name in node.outputs}
    for index in reversed(range(len(nodes))):
        _fill(kinds, index, nodes[index].outputs, consumers)
    for index in range(len(nodes)):
        _fill(kinds, index, nodes[index].inputs, producers)
    return [kind or "other" for kind in kinds]


def _fill(
    kinds: list[Kind | None], index: int, tensors: Iterable[str], ends: Mapping[str, list[int]]
) -> None:
    near = (kinds[end] for name in tensors for end in ends.get(name, ()))
    kinds[index] = kinds[index] or next(filter(None, near), None)
