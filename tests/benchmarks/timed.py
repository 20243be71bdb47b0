"""Files of random weights, made and timed by the commands that a user would type.

Random weights back no claim; they cost what trained ones cost on a CPU. What was timed is not timed
again, so that a run that was stopped goes on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dgprune.artefact import open_artefact
from dgprune.cli import invoke
from dgprune.records import LatencyRecord, read_records

DATA, TARGET = "rotated-digits", "rot75"
Cell = tuple[str, str, int]  # digest of the file, runtime, batch size


def prune(out: Path, model: str, *more: str) -> Path:
    """A checkpoint cut as the options `more` say, without a refit: the weights are random."""
    where = ("--data", DATA, "--target", TARGET, "--out", str(out), "--no-refit", "--quiet")
    return Path(invoke(["prune", model, *where, *more]).path)


def export(out: Path, checkpoint: Path, form: str = "onnx", precision: str = "fp32") -> Path:
    """Its artefact of the format `form`."""
    where = ("--data", DATA, "--out", str(out), "--format", form, "--precision", precision)
    return Path(
        invoke(["export", str(checkpoint), *where, *("--parity-images", "16", "--quiet")]).path
    )


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Where records go, and how files are timed against `baseline`."""

    records: Path
    baseline: Path
    batches: Sequence[int] = (1,)
    runtimes: Sequence[str] = ("onnxruntime", "openvino")
    provider: str = "cpu"
    tier: str = "smoke"

    def time(self, artefact: Path) -> None:
        """Times `artefact` in every cell that has no record yet; the dense file is the control."""
        sha256 = open_artefact(artefact).artefact.sha256
        for runtime in self.runtimes:
            known = self._known()
            left = [size for size in self.batches if (sha256, runtime, size) not in known]
            if left:
                self._bench(artefact, runtime, left)

    def _bench(self, artefact: Path, runtime: str, sizes: Sequence[int]) -> None:
        print(
            f"timing {artefact.name} on {runtime}, batch {', '.join(map(str, sizes))}", flush=True
        )
        command = ["bench", str(artefact), "--baseline", str(self.baseline), "--data", DATA]
        command += ["--runtime", runtime, "--provider", self.provider, "--tier", self.tier]
        command += ["--batch", ",".join(map(str, sizes)), "--records", str(self.records), "--quiet"]
        invoke(command)

    def _known(self) -> set[Cell]:
        if not self.records.exists():
            return set()
        found = (entry.record for entry in read_records(self.records))
        return {
            (record.subject.sha256, record.runtime.name, record.batch_size)
            for record in found
            if isinstance(record, LatencyRecord)
        }
