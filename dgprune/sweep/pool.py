"""What a driver asks of the machines: take a task, tell which ended."""

from collections.abc import Sequence
from typing import Protocol

from dgprune.sweep.work import Outcome, Task


class Pool(Protocol):
    """Workers, here or elsewhere."""

    @property
    def slots(self) -> int:
        """How many cells run at a time."""

    @property
    def capacity(self) -> int:
        """How many tasks it takes before one of them has ended."""

    def submit(self, task: Task) -> None:
        """Starts `task` as soon as a slot is free."""

    def wait(self, timeout_s: float) -> Sequence[Outcome]:
        """The tasks that ended since the last call, at least one unless the time is up."""

    def stop(self) -> None:
        """Ends all workers: gently, so that what is half-made is taken away, then by force."""
