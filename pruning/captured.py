"""Forward and backward pass of a batch as one CUDA graph, recorded once and then replayed.

A small model keeps a GPU waiting for Python, which starts its kernels one by one.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pruning.invariance import Batch
from pruning.processes import Processes
from pruning.training_spec import TrainSpec

_WARM_UPS = 3  # passes on a stream of their own, as PyTorch asks before a recording


def can_capture(spec: TrainSpec, device: torch.device, processes: Processes) -> bool:
    """Whether all steps do the same on a GPU: Mixup draws a share, CORAL sorts by domain."""
    alike = not spec.mixup and not spec.coral and processes.count == 1
    return alike and device.type == "cuda"


class Captured:
    """The loss of batches of one size, whose gradients lie where an optimiser looks for them.

    `loss_of` may depend on the batch's tensors alone, and must not wait for the GPU; where it does,
    or memory is short, nothing is recorded and `failure` says why.
    """

    def __init__(
        self, loss_of: Callable[[Batch], Tensor], parameters: Sequence[nn.Parameter]
    ) -> None:
        self.failure = ""
        self._loss_of, self._parameters = loss_of, parameters
        self._gradients: list[Tensor | None] = []
        self._batch: Batch | None = None
        self._graph: Any = None

    def takes(self, batch: Batch) -> bool:
        """Whether `batch` has the size of the first one; the last of an epoch may be smaller.

        The first one is recorded here.
        """
        if self._batch is None and not self.failure:
            try:
                self._batch = self._record(batch)
            except RuntimeError as error:  # of CUDA: an operation that cannot be recorded, memory
                self.failure = str(error).splitlines()[0]
        return self._batch is not None and len(batch.labels) == len(self._batch.labels)

    def __call__(self, batch: Batch) -> Tensor:
        """The loss, in memory of its own."""
        mine = self._batch
        assert mine is not None
        mine.views.copy_(batch.views)
        mine.labels.copy_(batch.labels)
        mine.domains.copy_(batch.domains)
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient
        self._graph.replay()
        return self._loss.clone()

    def _record(self, batch: Batch) -> Batch:
        """The memory that every batch is copied to from now on."""
        mine = Batch(
            views=batch.views.clone(), labels=batch.labels.clone(), domains=batch.domains.clone()
        )
        apart: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        apart.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(apart):
            for _ in range(_WARM_UPS):
                self._compute(mine)
        torch.cuda.current_stream().wait_stream(apart)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._loss = self._compute(mine)
        self._gradients = [parameter.grad for parameter in self._parameters]
        return mine

    def _compute(self, batch: Batch) -> Tensor:
        for parameter in self._parameters:
            parameter.grad = None  # so that gradients are written, not added
        loss = self._loss_of(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()
