"""The CUDA device through PyTorch: buffers, a stream, captured graphs, its own clock."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch

from dgprune.data.preprocessing import Floats
from dgprune.errors import DgpruneError
from dgprune.runtimes import Inputs
from dgprune.timing import DeviceTime


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceIdentity:
    """What an engine is tied to beside TensorRT's version."""

    name: str
    compute_capability: str


def require_cuda(what: str) -> DeviceIdentity:
    """The device; raises DgpruneError, before any object is made, where there is none."""
    if not torch.cuda.is_available():
        raise DgpruneError(
            f"{what} needs an NVIDIA GPU and its driver, and PyTorch finds none here; "
            "use --runtime onnxruntime or openvino, or another machine"
        )
    major, minor = torch.cuda.get_device_capability()
    return DeviceIdentity(name=torch.cuda.get_device_name(), compute_capability=f"{major}.{minor}")


class Buffer:
    """Memory on the device, and pinned memory on the host beside it."""

    def __init__(self, shape: tuple[int, ...], dtype: str) -> None:
        kind = {"float32": torch.float32, "uint8": torch.uint8}[dtype]
        self._host = torch.empty(shape, dtype=kind, pin_memory=True)
        self._device = torch.empty(shape, dtype=kind, device="cuda")

    @property
    def address(self) -> int:
        """Where it lies on the device."""
        return self._device.data_ptr()

    def upload(self, array: Inputs) -> None:
        """Copies `array` to the device."""
        self._host.copy_(torch.from_numpy(array))
        self._device.copy_(self._host)

    def download(self) -> Floats:
        """A copy of what lies on the device."""
        self._host.copy_(self._device)
        return np.array(self._host.numpy())


class Stream:
    """A stream of its own: TensorRT synchronises the default one at every call."""

    def __init__(self) -> None:
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    @property
    def handle(self) -> int:
        """The CUDA stream, as TensorRT takes it."""
        return self._stream.cuda_stream

    def wait(self) -> None:
        """Returns when the device has finished."""
        self._stream.synchronize()

    def timed(self, launch: Callable[[], None]) -> DeviceTime:
        """The time of `launch` on this stream between two events; returns when it has finished."""
        first = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        last = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        begin = time.perf_counter_ns()
        with torch.cuda.stream(self._stream):  # a graph is replayed on the current stream
            first.record()
            launch()
            last.record()
        enqueued = time.perf_counter_ns() - begin
        last.synchronize()
        return DeviceTime(device_ns=round(first.elapsed_time(last) * 1e6), enqueue_ns=enqueued)

    def captured(self, launch: Callable[[], None]) -> Callable[[], None]:
        """`launch` recorded as a CUDA graph; call the result to replay it."""
        launch()  # lazy set-up cannot be captured
        self.wait()
        graph: Any = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream):
            launch()
        return cast(Callable[[], None], graph.replay)
