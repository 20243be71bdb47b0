"""TensorRT's profiler: time of every layer, and which nodes of the graph it came from."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from dgprune.node_kinds import Kind, Node, kinds_of_executed
from dgprune.node_times import NodeTime

_ONNX_LAYER = re.compile(r"\[ONNX Layer: ([^\]]*)\]")


def layer_profiler(trt: Any, calls: list[dict[str, float]]) -> Any:
    """A profiler that adds what each layer took, in ms, to the last entry of `calls`."""

    class Profiler(trt.IProfiler):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            calls[-1][layer_name] = calls[-1].get(layer_name, 0.0) + ms

    return Profiler()


def node_times(
    described: Mapping[str, Any], known: Mapping[str, Kind], calls: Sequence[Mapping[str, float]]
) -> tuple[NodeTime, ...]:
    """Times of every layer in `calls`, its kind from an engine's description of itself."""
    layers = [layer for layer in described.get("Layers", []) if isinstance(layer, dict)]
    nodes = [_node(layer) for layer in layers]
    kinds = kinds_of_executed(nodes, known)
    ops = {node.name: node.op for node in nodes}
    durations_ns: dict[str, list[int]] = defaultdict(list)
    for call in calls:
        for name, ms in call.items():
            durations_ns[name].append(round(ms * 1e6))
    return tuple(
        NodeTime(
            name=name,
            op=ops.get(name, ""),
            kind=kinds.get(name, "other"),
            durations_ns=tuple(found),
        )
        for name, found in durations_ns.items()
    )


def _node(layer: Mapping[str, Any]) -> Node:
    name = str(layer.get("Name", ""))
    return Node(
        name=name,
        op=str(layer.get("LayerType", "")),
        inputs=_tensors(layer, "Inputs"),
        outputs=_tensors(layer, "Outputs"),
        aliases=(*_ONNX_LAYER.findall(str(layer.get("Metadata", ""))), *name.split(" + ")),
    )


def _tensors(layer: Mapping[str, Any], side: str) -> tuple[str, ...]:
    return tuple(str(tensor["Name"]) for tensor in layer.get(side, []) if "Name" in tensor)
