"""One training in several processes, as `torchrun` starts them: a share of each batch for each."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn

from dgprune.errors import DgpruneError

_STARTED_BY_TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """Which of how many processes this is; rank 0 alone writes files and talks."""

    rank: int = 0
    count: int = 1

    def share(self, items: Tensor) -> Tensor:
        """The part of a batch that is for this process: neighbours, which are of several domains.

        A balanced batch has the domains in turn, so that every n-th image may be of one alone.
        """
        return items.tensor_split(self.count)[self.rank]

    def add_up(self, values: Tensor) -> Tensor:
        """The sum over all processes, in all of them."""
        if self.count > 1:
            with _met():
                distributed.all_reduce(values)
        return values

    def add_up_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Sums every gradient over all processes, in one exchange."""
        if self.count == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [p.grad for p in parameters if p.grad is not None]
        summed = self.add_up(torch.cat([gradient.flatten() for gradient in gradients]))
        start = 0
        for gradient in gradients:
            stop = start + gradient.numel()
            gradient.copy_(summed[start:stop].view_as(gradient))
            start = stop

    def share_first(self, parameters: Sequence[nn.Parameter]) -> None:
        """Gives every process the parameters of the first one."""
        if self.count == 1:
            return
        for parameter in parameters:
            own = parameter.detach() if self.rank == 0 else torch.zeros_like(parameter)
            parameter.data.copy_(self.add_up(own.clone()))

    def wait(self) -> None:
        """Returns when all processes are here."""
        if self.count > 1:
            with _met():
                distributed.barrier()


ALONE = Processes()


@contextmanager
def _met() -> Iterator[None]:
    """Turns the end of another process, which has told why, into one line."""
    try:
        yield
    except RuntimeError as error:
        raise DgpruneError(
            "another process of this training has ended; its own error says why"
        ) from error


def count_of_processes() -> int:
    """How many processes `torchrun` (or `accelerate launch`) started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this is the process that talks: the only one, or rank 0."""
    return count_of_processes() == 1 or os.environ.get("RANK", "0") == "0"


@contextmanager
def joined_processes() -> Iterator[Processes]:
    """Connects the processes that `torchrun` started, while the block runs."""
    if count_of_processes() == 1:
        yield ALONE
        return
    missing = [name for name in _STARTED_BY_TORCHRUN if name not in os.environ]
    if missing:
        raise DgpruneError(f"WORLD_SIZE is set but {missing[0]} is not; start with torchrun")
    if torch.cuda.is_available():
        _take_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield Processes(rank=distributed.get_rank(), count=distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


def _take_device(local_rank: int) -> None:
    """A GPU for each process of this machine: NCCL refuses two processes on one."""
    there = torch.cuda.device_count()
    if local_rank >= there:
        raise DgpruneError(
            f"process {local_rank + 1} of this machine finds {there} GPU(s); start no more than "
            f"--nproc-per-node {there}"
        )
    torch.cuda.set_device(local_rank)
