"""PyTorch itself, eager or compiled: what a checkpoint is measured on before it is exported."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import nn

from dgprune.data.preprocessing import Floats
from dgprune.errors import DgpruneError
from dgprune.models import Transformer, blocks_of
from dgprune.proof import Layer, Proof, prove
from dgprune.records import RuntimeSpec
from dgprune.runtimes import Inputs, Loadable, check_inputs, first_line
from dgprune.runtimes.cuda_device import Stream
from dgprune.timing import DeviceTime


class Torch:
    """One model on the CPU or on a CUDA device; compiled where `spec.name` says so."""

    def __init__(self, load: Callable[[], Transformer], loadable: Loadable, spec: RuntimeSpec):
        self._load = load
        self._loadable = loadable
        self._spec = spec
        self._device = torch.device("cuda" if spec.provider == "cuda" else "cpu")
        self._inputs: list[torch.Tensor] = []
        self._outputs: dict[int, torch.Tensor] = {}
        self._stream: Stream | None = None

    def __enter__(self) -> Self:
        if self._device.type == "cuda" and not torch.cuda.is_available():
            raise DgpruneError("PyTorch finds no CUDA device here; use --provider cpu")
        self._threads_before = torch.get_num_threads()
        torch.set_num_threads(self._spec.threads)
        torch.backends.cuda.matmul.allow_tf32 = False  # ten bits of mantissa are not fp32
        torch.backends.cudnn.allow_tf32 = False
        self._stream = Stream() if self._device.type == "cuda" else None
        self._model = self._load().eval().to(self._device)
        self._forward: Any = self._model
        if self._spec.name == "torch-compile":
            self._forward = torch.compile(self._model)
        return self

    def __exit__(self, *failure: object) -> None:
        self._inputs.clear()
        self._outputs.clear()
        torch.set_num_threads(self._threads_before)
        del self._model, self._forward

    def bind(self, batches: Sequence[Inputs]) -> None:
        """Places inputs [batch, 3, px, px] on the device."""
        check_inputs(batches, self._loadable.form, self._loadable.file)
        self._inputs = [torch.from_numpy(batch).to(self._device) for batch in batches]
        if self._device.type == "cuda":
            torch.cuda.synchronize()  # the stream that computes is another than the one that copied

    def infer(self, index: int) -> DeviceTime | None:
        """Computes the batch bound at `index`; returns when the device has finished."""
        if self._stream is not None:
            return self._stream.timed(lambda: self._compute(index))
        self._compute(index)
        return None

    def _compute(self, index: int) -> None:
        try:
            with torch.inference_mode():
                self._outputs[index] = self._forward(self._inputs[index])
        except torch._dynamo.exc.TorchDynamoException as error:
            raise DgpruneError(f"torch.compile failed: {first_line(error)}") from error

    def output(self, index: int) -> Floats:
        """Logits [batch, classes] of the last `infer(index)`."""
        logits: Floats = self._outputs[index].cpu().numpy()
        return logits

    def proof(self) -> Proof:
        """Type and device of the weights of every layer, as they are in memory."""
        layers = tuple(
            Layer(
                name=name,
                kind=type(module).__name__,
                precision=_PRECISIONS.get(module.weight.dtype, str(module.weight.dtype)),
                provider=module.weight.device.type,
            )
            for name, module in self._model.named_modules()
            if isinstance(module, nn.Conv2d | nn.Linear)
        )
        nodes = dict(Counter(layer.provider for layer in layers))
        fused = sum(bool(block.attn.fused_attn) for block in blocks_of(self._model))
        return prove(self._loadable.wanted, layers, nodes, fused)


_PRECISIONS = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}
