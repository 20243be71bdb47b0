"""PyTorch itself: what a checkpoint is evaluated on before it is exported."""

from collections.abc import Sequence
from typing import Self

import torch

from dgprune.data.preprocessing import Floats
from dgprune.models import Transformer
from dgprune.records import RuntimeSpec


class TorchEager:
    """One model in eager mode on the CPU."""

    def __init__(self, model: Transformer, spec: RuntimeSpec) -> None:
        self._model = model.eval()
        self._threads = spec.threads
        self._inputs: list[torch.Tensor] = []
        self._outputs: dict[int, torch.Tensor] = {}

    def __enter__(self) -> Self:
        torch.set_num_threads(self._threads)
        return self

    def __exit__(self, *failure: object) -> None:
        self._inputs.clear()
        self._outputs.clear()

    def bind(self, batches: Sequence[Floats]) -> None:
        """Places inputs [batch, 3, px, px]."""
        self._inputs = [torch.from_numpy(batch) for batch in batches]

    def infer(self, index: int) -> None:
        """Computes the batch bound at `index`."""
        with torch.inference_mode():
            self._outputs[index] = self._model(self._inputs[index])

    def output(self, index: int) -> Floats:
        """Logits [batch, classes] of the last `infer(index)`."""
        logits: Floats = self._outputs[index].numpy()
        return logits
