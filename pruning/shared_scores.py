"""Scores of a model's units, kept in the store: cuts of one model by one criterion share them.

A grid of rankings and ratios scores its dense model once. The file is named by a digest of all that
the scores depend on, written whole, and made by one process while others wait for it.
"""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from dgprune.schema import Json, digest
from dgprune.store import explained, write_bytes
from dgprune.temporary import alone
from pruning.ranking import UnitScores

_FORMAT = 1  # raised where a criterion gives other numbers on the same images
_TUPLES = ("qk", "value", "mlp")


def shared_scores(store: Path, asked: Json, compute: Callable[[], UnitScores]) -> UnitScores:
    """The scores that `asked` names, read from `store`, or computed and kept there.

    A file that is damaged is made again.
    """
    name = digest({**asked, "format": _FORMAT})
    path = store / f"scores-{asked['criterion']}-{name[:12]}.safetensors"
    found = _read(path, name)
    if found is not None:
        return found
    lock = path.with_suffix(".lock")
    with ExitStack() as held:
        with explained(lock):
            held.enter_context(alone(lock))
        found = _read(path, name)  # another process made it meanwhile
        if found is None:
            found = compute()
            write_bytes(path, save(_arrays(found), metadata={"scores": name}))
    return found


def _arrays(scores: UnitScores) -> dict[str, np.ndarray]:
    arrays = {"width": scores.width}
    if scores.width_after is not None:
        arrays["width_after"] = scores.width_after
    for name in _TUPLES:
        arrays |= {f"{name}.{i}": part for i, part in enumerate(getattr(scores, name))}
    return {key: np.ascontiguousarray(value) for key, value in arrays.items()}


def _read(path: Path, name: str) -> UnitScores | None:
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            if (file.metadata() or {}).get("scores") != name:
                return None
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return None
    parts = {
        tuple_name: tuple(
            arrays[f"{tuple_name}.{i}"]
            for i in range(sum(key.startswith(f"{tuple_name}.") for key in arrays))
        )
        for tuple_name in _TUPLES
    }
    return UnitScores(width=arrays["width"], width_after=arrays.get("width_after"), **parts)
