"""What executes a file.

One protocol: buffers are bound on entry, `infer` launches, exit frees.
"""

from collections.abc import Sequence
from typing import Protocol, Self

from dgprune.data.preprocessing import Floats


class Runtime(Protocol):
    """A loaded model with its inputs bound, used as a context manager."""

    def __enter__(self) -> Self:
        """Loads the model."""

    def __exit__(self, *failure: object) -> None:
        """Frees it."""

    def bind(self, batches: Sequence[Floats]) -> None:
        """Places inputs [batch, 3, px, px], one binding a batch."""

    def infer(self, index: int) -> None:
        """Computes the batch bound at `index`; returns when the result is there."""

    def output(self, index: int) -> Floats:
        """Logits [batch, classes] of the last `infer(index)`."""
