"""The state of a training, kept beside the result so that a killed one goes on where it was.

Restored, it gives the same numbers as a run that was never interrupted: everything that a later
step depends on is in it, the generator of the random views included.
"""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from dgprune.errors import DgpruneError
from dgprune.schema import canonical_json
from dgprune.store import write_bytes

_FORMAT = 3  # raised where a state holds something else
_LEAST_S = 20.0
_SHARE = 0.02  # of the time of a training, for writing its state


@dataclass(kw_only=True)
class Resume:
    """A file for the state of one training; `name` says which, in the file too."""

    path: Path
    name: str
    least_s: float = _LEAST_S
    last: float = field(default_factory=time.monotonic)
    cost_s: float = 0.0

    def due(self) -> bool:
        """Whether so much work would be lost that it is worth writing."""
        return time.monotonic() - self.last >= max(self.least_s, self.cost_s / _SHARE)

    def write(self, tensors: dict[str, Tensor], numbers: dict[str, object]) -> None:
        """Replaces the file; a reader finds the old state or the new one, whole."""
        start = time.monotonic()
        whole = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
        meta = {"training": self._whole_name(), "numbers": canonical_json(numbers)}
        write_bytes(self.path, save(whole, metadata=meta))
        self.last = time.monotonic()
        self.cost_s = self.last - start

    def read(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """What was written last, or None; raises DgpruneError where the file is something else."""
        if not self.path.is_file():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                meta = file.metadata() or {}
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            if meta.get("training") == self._whole_name():
                return tensors, json.loads(meta["numbers"])
        except (OSError, SafetensorError, ValueError, KeyError):
            pass
        raise DgpruneError(
            f"{self.path} is not the state of this training; remove it to start again"
        )

    def _whole_name(self) -> str:
        return f"{self.name} in format {_FORMAT}"

    def clear(self) -> None:
        """Removes the file: the training is done."""
        self.path.unlink(missing_ok=True)


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The moments of every parameter, by its number."""
    state = optimiser.state_dict()["state"]
    return {f"{i}.{name}": value for i, kept in state.items() for name, value in kept.items()}


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Puts the moments back; the learning rates follow from the schedule."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = value
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})
