"""Building a TensorRT engine from an ONNX graph, on TensorRT 10 and 11.

The network is strongly typed, so that precision comes from the graph alone on both majors; the
flags for fp16, bf16 and int8, which 11 no longer has, are not used.
"""

from pathlib import Path
from typing import Any

import onnx

from dgprune.cache import CACHE, cache_folder
from dgprune.errors import DgpruneError
from dgprune.progress import Progress
from dgprune.runtimes.tensorrt import load_tensorrt, quiet_logger
from dgprune.schema import digest
from dgprune.store import explained, write_bytes
from export.spec import ExportSpec

_OPTIMUM = 8  # images: the batch that a dynamic engine is tuned for


def build_engine(
    graph: onnx.ModelProto, file: Path, spec: ExportSpec, progress: Progress
) -> dict[str, str]:
    """Writes the engine of `graph` to `file`, and says what it is tied to.

    Raises DgpruneError where there is no CUDA device, no TensorRT, or TensorRT refuses.
    """
    trt, tied_to = load_tensorrt("--format tensorrt")
    errors: list[str] = []
    logger = quiet_logger(trt, errors)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(graph.SerializeToString()):
        told = parser.get_error(0).desc() if parser.num_errors else "no reason given"
        raise DgpruneError(f"TensorRT cannot read the graph: {told.strip().splitlines()[0]}")
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # the proof reads it
    config.clear_flag(trt.BuilderFlag.TF32)  # ten bits of mantissa are not fp32
    config.progress_monitor = _monitor(trt, progress)
    if spec.has_range:
        config.add_optimization_profile(_profile(builder, graph, spec.largest_batch))
    timings = cache_folder() / "tensorrt" / f"{digest([tied_to, spec.precision])[:16]}.timings"
    # A cache would choose the same kernels again; another build is to choose its own.
    known = _read(timings) if spec.build == 1 else b""
    config.set_timing_cache(config.create_timing_cache(known), False)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        told = errors[-1] if errors else "no reason given"
        raise DgpruneError(f"TensorRT cannot build the engine: {told}")
    file.write_bytes(bytes(engine))
    if spec.build == 1:
        _keep(timings, bytes(config.get_timing_cache().serialize()), progress)
    largest = {"largest_batch": str(spec.largest_batch)} if spec.has_range else {}
    return {**tied_to, **largest, "network": "strongly typed", "tf32": "off"}


def _profile(builder: Any, graph: onnx.ModelProto, largest: int) -> Any:
    """The range of batch sizes: 1 to `largest`, tuned for 8 or the largest."""
    source = graph.graph.input[0]
    image = [d.dim_value for d in source.type.tensor_type.shape.dim[1:]]
    profile = builder.create_optimization_profile()
    smallest, tuned = 1, min(_OPTIMUM, largest)
    shapes = [(count, *image) for count in (smallest, tuned, largest)]
    profile.set_shape(source.name, *shapes)
    return profile


def _read(timings: Path) -> bytes:
    """Kernel timings of earlier builds for the same version, device and precision."""
    return timings.read_bytes() if timings.is_file() else b""


def _keep(timings: Path, data: bytes, progress: Progress) -> None:
    """Keeps the timings for the next build; the engine is there, so a failure is only told."""
    try:
        with explained(timings.parent, CACHE):
            timings.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(timings, data, CACHE)
    except DgpruneError as error:
        progress.line(f"the timings of this build are not kept: {error}")


def _monitor(trt: Any, progress: Progress) -> Any:
    """Tells `progress` of every outer phase of the build, which takes minutes."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None:
                progress.line(f"TensorRT: {phase_name}, {num_steps} steps")

        def step_complete(self, phase_name: str, step: int) -> bool:
            return True  # go on

        def phase_finish(self, phase_name: str) -> None:
            pass

    return Monitor()
