"""ONNX Runtime on the CPU, through IO binding."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from dgprune.data.preprocessing import Floats
from dgprune.errors import DgpruneError
from dgprune.records import RuntimeSpec

PROVIDERS = {"cpu": "CPUExecutionProvider"}


class OnnxRuntime:
    """One ONNX file in one session; `spec.threads` is the size of its only thread pool."""

    def __init__(self, file: Path, spec: RuntimeSpec) -> None:
        self._file = file
        self._spec = spec
        self._session: Any = None
        self._bindings: list[Any] = []

    def __enter__(self) -> Self:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._spec.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        provider = PROVIDERS[self._spec.provider]
        try:
            self._session = onnxruntime.InferenceSession(self._file, options, providers=[provider])
        except (
            Exception
        ) as error:  # its exception types are private; all mean: this file does not load
            reason = str(error).splitlines()[0]
            raise DgpruneError(f"ONNX Runtime cannot load {self._file}: {reason}") from error
        found = self._session.get_providers()
        if found[0] != provider:
            raise DgpruneError(f"ONNX Runtime fell back to {found[0]}, asked was {provider}")
        return self

    def __exit__(self, *failure: object) -> None:
        self._bindings.clear()
        self._session = None

    def bind(self, batches: Sequence[Floats]) -> None:
        """Places inputs [batch, 3, px, px]; outputs stay in ONNX Runtime's own memory."""
        source, result = self._session.get_inputs()[0], self._session.get_outputs()[0]
        self._bindings.clear()
        for batch in batches:
            if list(batch.shape[1:]) != list(source.shape[1:]):
                raise DgpruneError(
                    f"{self._file} takes images of shape {source.shape[1:]}, "
                    f"got {list(batch.shape[1:])}"
                )
            binding = self._session.io_binding()
            binding.bind_cpu_input(source.name, batch)
            binding.bind_output(result.name)
            self._bindings.append(binding)

    def infer(self, index: int) -> None:
        """Computes the batch bound at `index`."""
        self._session.run_with_iobinding(self._bindings[index])

    def output(self, index: int) -> Floats:
        """Logits [batch, classes] of the last `infer(index)`."""
        logits: Floats = self._bindings[index].copy_outputs_to_cpu()[0]
        return logits
