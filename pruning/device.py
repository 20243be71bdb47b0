"""Where training, scoring and the refit compute: the GPU where there is one, the CPU otherwise."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from dgprune.models import Transformer

_SHARE = 0.5  # of the free memory of a GPU, for data that stays there


def pick_device() -> torch.device:
    """The GPU where there is one, the CPU otherwise."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # equal sums in equal runs
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Memory that is about to be written would cost a kernel a tensor.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    for fused in ("cudnn", "flash", "mem_efficient"):  # their backward passes sum in any order
        getattr(torch.backends.cuda, f"enable_{fused}_sdp")(False)
    return torch.device("cuda", torch.cuda.current_device())


def to_device(small: Tensor, device: torch.device) -> Tensor:
    """A copy of a few numbers on `device`; a GPU takes it when it comes to it, nobody waits."""
    return small.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else small


def has_bf16(device: torch.device) -> bool:
    """Whether a GPU computes bf16 itself; a CPU that does is still slower or less exact."""
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def fits(size_bytes: int, device: torch.device) -> bool:
    """Whether a GPU has room for `size_bytes` of data that stay: half of its free memory."""
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return size_bytes < _SHARE * free


@contextmanager
def placed(device: torch.device, *models: Transformer) -> Iterator[None]:
    """Has `models` on `device` while the context lasts, and back on the CPU after it."""
    try:
        for model in models:
            model.to(device)
        yield
    finally:
        for model in models:
            model.to("cpu")
