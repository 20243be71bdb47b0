"""The speedup that a plan measured in the search that chose it, kept beside its checkpoint.

The file is no part of the checkpoint: no digest covers it, since time is measured and not computed.
"""

from dataclasses import dataclass
from pathlib import Path

from dgprune.schema import canonical_json, decode, read_json
from dgprune.store import write_text

REACHED = "reached.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """Speedup of the exported plan over the model that was cut, in its 95 % interval, and where.

    `latency_ms` is what that leaves of the model's median latency, where a latency was the aim.
    `doubt` says why `bench` gives no verdict on that measurement, None where it gives one.
    """

    runtime: str
    batch_size: int
    threads: int
    tier: str
    low: float
    estimate: float
    high: float
    latency_ms: float | None = None
    doubt: str | None = None

    @property
    def text(self) -> str:
        """For a person: `2.06x [2.04, 2.09] on onnxruntime, batch 1`."""
        interval = f"{self.estimate:.2f}x [{self.low:.2f}, {self.high:.2f}]"
        latency = "" if self.latency_ms is None else f", {self.latency_ms:.3g} ms"
        doubt = "" if self.doubt is None else f" (no verdict: {self.doubt})"
        return f"{interval} on {self.runtime}, batch {self.batch_size}{latency}{doubt}"


def save_reached(folder: Path, reached: Reached) -> None:
    """Puts `reached` into the folder of a checkpoint, in place of an earlier one."""
    path, text = folder / REACHED, canonical_json(reached) + "\n"
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def read_reached(folder: Path) -> Reached | None:
    """What the folder of a checkpoint holds; raises DgpruneError where the file is damaged."""
    path = folder / REACHED
    return decode(Reached, read_json(path), where=str(path)) if path.is_file() else None
