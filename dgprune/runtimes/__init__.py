"""What executes a file.

One protocol: buffers are bound, `infer` launches, exit frees; `proof` says what really ran.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from dgprune.data.preprocessing import Bytes, Floats
from dgprune.errors import DgpruneError
from dgprune.node_kinds import Kind
from dgprune.node_times import NodeTime
from dgprune.proof import Proof, Wanted
from dgprune.timing import DeviceTime

Inputs = Floats | Bytes
_NO_MEMORY = ("bad_alloc", "failed to allocate", "out of memory", "outofmemory")


class OutOfMemoryError(DgpruneError):
    """The host or the device is too small for this batch: a result, where it is timed."""


class Runtime(Protocol):
    """A loaded model with its inputs bound, used as a context manager."""

    def __enter__(self) -> Self:
        """Loads the model."""

    def __exit__(self, *failure: object) -> None:
        """Frees it."""

    def bind(self, batches: Sequence[Inputs]) -> None:
        """Places inputs, one binding a batch; raises DgpruneError for what the model cannot take.

        A batch is [batch, 3, px, px], or pixels [batch, px, px, 3] where the file preprocesses.
        """

    def infer(self, index: int) -> DeviceTime | None:
        """Computes the batch bound at `index`; returns when the result is there.

        The device's own time is told where the runtime can ask for it.
        """

    def output(self, index: int) -> Floats:
        """Logits or probabilities [batch, classes] of the last `infer(index)`."""

    def proof(self) -> Proof:
        """What is executed, read back from the loaded model; needs something bound."""


class NodeTimer(Runtime, Protocol):
    """A runtime that can tell where its time goes: `profile`, `bind`, `infer`, `node_times`."""

    def profile(self) -> None:
        """Has every node timed from here on; bind again afterwards."""

    def node_times(self, skip: int) -> tuple[NodeTime, ...]:
        """Time of every executed node in the calls since, without the first `skip`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputForm:
    """What a file takes: the shape of an image, its type, and the batch sizes.

    `batch` is the only batch size where there is one, `largest` the end of a range.
    """

    image: tuple[int, int, int]
    dtype: str = "float32"
    batch: int | None = None
    largest: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Loadable:
    """A file, what it takes, and what should run when it is executed.

    `node_kinds` is what its nodes are for, where the file itself keeps no graph.
    """

    file: Path
    form: InputForm
    wanted: Wanted
    built_with: dict[str, str]
    node_kinds: dict[str, Kind] = field(default_factory=dict)


def check_inputs(batches: Sequence[Inputs], form: InputForm, file: Path) -> None:
    """Raises DgpruneError for a batch of another shape, type or size, or one that holds NaN."""
    for batch in batches:
        count, image = len(batch), tuple(batch.shape[1:])
        if image != form.image:
            raise DgpruneError(f"{file} takes images of shape {form.image}, got {image}")
        if str(batch.dtype) != form.dtype:
            raise DgpruneError(f"{file} takes {form.dtype} images, got {batch.dtype}")
        if form.batch is not None and count != form.batch:
            raise DgpruneError(
                f"{file} was exported for batch {form.batch}, got {count}; "
                "export with --batch dynamic for others"
            )
        if form.largest is not None and count > form.largest:
            raise DgpruneError(
                f"{file} was built for batches up to {form.largest}, got {count}; "
                "build it again for larger ones"
            )
        if batch.dtype.kind == "f" and not np.isfinite(batch).all():
            raise DgpruneError(f"an input of {file} holds NaN or Inf; check the images")


def failed(what: str, error: Any) -> DgpruneError:
    """What is to be raised for an `error` of a library: `what` failed, and its first line."""
    words = str(error).lower()
    kind = OutOfMemoryError if any(word in words for word in _NO_MEMORY) else DgpruneError
    return kind(f"{what}: {first_line(error)}")


def first_line(error: Any) -> str:
    """What a library said, in one line; where in its source it said it is of no use."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return (told or lines or [type(error).__name__])[0]
