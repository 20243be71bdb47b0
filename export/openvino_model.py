"""OpenVINO's own files (model.xml and model.bin), from the ONNX graph."""

import contextlib
import io
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

from dgprune.artefact import Precision
from dgprune.errors import DgpruneError
from dgprune.runtimes import Inputs


def write_openvino(
    graph: onnx.ModelProto,
    file: Path,
    precision: Precision,
    inputs: Sequence[Inputs],
    metadata: dict[str, str],
    keep: Sequence[str] = (),
) -> None:
    """Writes `file` (.xml) and its .bin beside it.

    fp16 is the type of the stored weights, and what is asked of the device; bf16 is a type that the
    device computes in, its weights are stored as fp32; int8 is NNCF's post-training quantisation on
    the batches `inputs`, but for the nodes `keep`. Raises DgpruneError where OpenVINO or NNCF is
    missing.
    """
    openvino = _openvino()
    model = openvino.Core().read_model(graph.SerializeToString())
    if precision == "int8":
        model = _quantise(model, inputs, keep)
    for key, value in metadata.items():
        model.set_rt_info(value, ["dgprune", key.removeprefix("dgprune.")])
    openvino.save_model(model, file, compress_to_fp16=precision == "fp16")


def _openvino() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise DgpruneError(
            "--format openvino needs OpenVINO: pip install 'dgprune[openvino]'"
        ) from error
    return openvino


def _quantise(model: Any, inputs: Sequence[Inputs], keep: Sequence[str]) -> Any:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            import nncf
    except ImportError as error:
        raise DgpruneError(
            "--precision int8 of OpenVINO needs NNCF: pip install 'dgprune[openvino]'"
        ) from error
    logging.getLogger("nncf").setLevel(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):
        return nncf.quantize(
            model,
            nncf.Dataset(list(inputs)),
            subset_size=len(inputs),
            model_type=nncf.ModelType.TRANSFORMER,
            ignored_scope=nncf.IgnoredScope(names=_products(model, keep)),
        )


def _products(model: Any, nodes: Sequence[str]) -> list[str]:
    """What OpenVINO calls the matrix products of the ONNX nodes: of a Gemm it makes two nodes."""
    names = [op.get_friendly_name() for op in model.get_ops() if op.get_type_name() == "MatMul"]
    return [name for name in names if name in nodes or name.rpartition("/")[0] in nodes]


def layers_of_openvino(file: Path, precision: Precision) -> dict[str, int]:
    """Convolutions and matrix products, by the precision that is asked for.

    Of int8 those with quantised weights: whether a runtime also runs the products inside of
    attention in int8 depends on how it fuses them.
    """
    model = _openvino().Core().read_model(file)
    found: Counter[str] = Counter()
    for node in model.get_ops():
        if node.get_type_name() in ("Convolution", "MatMul"):
            plain = "fp32" if precision == "int8" else precision
            weights = node.input_value(1).get_node()
            found["int8" if _is_quantised_constant(weights) else plain] += 1
    return dict(found)


def _is_quantised_constant(node: Any) -> bool:
    """Whether `node` is int8 weights, or the scaling, cast or reshape that follows them."""
    while node.get_type_name() in ("Multiply", "Subtract", "Convert", "Reshape", "Transpose"):
        node = node.input_value(0).get_node()
    if node.get_type_name() != "Constant":
        return False
    return str(node.get_element_type().get_type_name()) in ("i8", "u8")
