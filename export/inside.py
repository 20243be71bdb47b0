"""Values inside a model, by name: from ONNX Runtime, OpenVINO and the traced PyTorch program."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
import torch

from dgprune.runtimes import Inputs

Values = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node that computes the tensor `output`."""

    name: str
    kind: str
    output: str

    def describe(self) -> str:
        """For an error."""
        return f"{self.name} ({self.kind}, output {self.output})"


class Inside(Protocol):
    """A model whose inner tensors can be marked as outputs."""

    def nodes(self) -> list[Node]:
        """Nodes that depend on the input's values, in the order that they are computed in."""

    def values(self, names: Iterable[str], batch: Inputs) -> dict[str, Values]:
        """The named tensors for `batch`."""


class OrtGraph:
    """An ONNX graph in ONNX Runtime, without fusions, which would take its tensors away."""

    def __init__(self, graph: onnx.ModelProto) -> None:
        self._graph = graph

    def nodes(self) -> list[Node]:
        """Nodes in the order that they are computed in."""
        reached = {value.name for value in self._graph.graph.input}
        found = []
        for node in self._graph.graph.node:
            if node.op_type == "Shape" or not reached.intersection(node.input):
                continue
            reached.update(node.output)
            found += [Node(name=node.name, kind=node.op_type, output=o) for o in node.output if o]
        return found

    def values(self, names: Iterable[str], batch: Inputs) -> dict[str, Values]:
        """The named tensors for `batch`."""
        return self.session(names).run(batch)

    def session(self, names: Iterable[str]) -> "MarkedSession":
        """A session that gives the named tensors, for many batches."""
        return MarkedSession(self._graph, names)


class MarkedSession:
    """A session of a copy of `graph` in which the named tensors are outputs."""

    def __init__(self, graph: onnx.ModelProto, names: Iterable[str]) -> None:
        import onnxruntime

        marked = onnx.ModelProto()
        marked.CopyFrom(graph)
        there = {value.name for value in graph.graph.output}
        for name in sorted(set(names) - there):
            marked.graph.output.append(onnx.ValueInfoProto(name=name))
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._session = onnxruntime.InferenceSession(
            marked.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._names = [output.name for output in self._session.get_outputs()]

    def run(self, batch: Inputs) -> dict[str, Values]:
        """Every marked value for `batch`."""
        feed = {self._session.get_inputs()[0].name: batch}
        return dict(zip(self._names, self._session.run(None, feed), strict=True))


class OpenVinoGraph:
    """A file (.xml or .onnx) in OpenVINO; its tensors keep the names that ONNX gave them."""

    def __init__(self, file: Path, *, bfloat16: bool = False) -> None:
        self._file = file
        self._hint = {"INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32"}

    def nodes(self) -> list[Node]:
        """Nodes in the order that they are computed in."""
        import openvino

        reached: set[str] = set()
        found = []
        for op in openvino.Core().read_model(self._file).get_ordered_ops():
            name, kind = op.get_friendly_name(), op.get_type_name()
            sources = {value.get_node().get_friendly_name() for value in op.input_values()}
            if kind == "ShapeOf" or not (kind == "Parameter" or reached & sources):
                continue
            reached.add(name)
            for output in op.outputs():
                named = sorted(output.get_names())
                found += [Node(name=name, kind=kind, output=tensor) for tensor in named]
        return found

    def values(self, names: Iterable[str], batch: Inputs) -> dict[str, Values]:
        """The named tensors for `batch`."""
        import openvino

        core = openvino.Core()
        model = core.read_model(self._file)
        already = {name for output in model.outputs for name in output.get_names()}
        model.add_outputs([name for name in names if name not in already])
        results = core.compile_model(model, "CPU", self._hint)([batch])
        found = {name: value for out, value in results.items() for name in out.get_names()}
        return {name: np.asarray(found[name]) for name in names}


@torch.no_grad()
def program_values(program: torch.export.ExportedProgram, batch: Inputs) -> dict[str, Values]:
    """Every tensor that the traced program computes, by the name that the exporter gave it."""
    values: dict[str, Values] = {}

    class Recorder(torch.fx.Interpreter):
        def run_node(self, n: torch.fx.Node) -> Any:
            result = super().run_node(n)
            if isinstance(result, torch.Tensor):
                values[n.name] = result.detach().float().numpy()
            return result

    Recorder(program.module()).run(torch.from_numpy(batch))
    return values
