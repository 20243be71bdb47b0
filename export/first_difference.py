"""Where a file that fails parity begins to differ from PyTorch."""

import math

import numpy as np
import torch

from dgprune.artefact import Precision
from dgprune.runtimes import Inputs
from export.inside import Inside, Values, program_values
from export.parity import LADDER

_SHOWN_BY = 0.99  # cosine of a tensor, for int8, whose ladder has none


def first_difference(
    candidate: Inside, program: torch.export.ExportedProgram, batch: Inputs, precision: Precision
) -> str:
    """The first node of `candidate` whose output leaves the tolerance on `batch`, in words.

    Compared by name with the traced PyTorch program. The suspects are halved until one is left, so
    that only some tensors are outputs at a time. Empty where no node that both know differs.
    """
    expected = program_values(program, batch)
    suspects = [
        node for node in candidate.nodes() if node.output in expected and node.output != "output"
    ]
    low, high = 0, len(suspects)
    while low < high:
        middle = (low + high) // 2
        names = [node.output for node in suspects[low : middle + 1]]
        found = candidate.values(names, batch)
        if any(_differs(expected[name], found[name], precision) for name in names):
            high = middle
        else:
            low = middle + 1
    return suspects[low].describe() if low < len(suspects) else ""


def _differs(a: Values, b: Values, precision: Precision) -> bool:
    """Whether two tensors of one name are further apart than the precision may bring them."""
    if a.shape != b.shape or not np.isfinite(b).all():
        return True
    a, b = a.astype(np.float64), b.astype(np.float64)
    allowed = LADDER[precision]
    if precision == "fp32":
        return bool((np.abs(a - b) > allowed.difference * np.maximum(1, np.abs(a))).any())
    cosine = allowed.cosine if allowed.cosine > 0 else _SHOWN_BY
    distance = float(np.linalg.norm(a - b)) / max(float(np.linalg.norm(a)), 1e-6)
    return distance > math.sqrt(2 * (1 - cosine))  # that of two unit vectors with this cosine
