"""Speedup of a plan as it ships: cut, exported and benched by the commands a user would type."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dgprune.artefact import open_artefact
from dgprune.errors import DgpruneError, require_between
from dgprune.records import LatencyRecord, read_records
from dgprune.schema import canonical_json
from dgprune.source import SourceSpec
from dgprune.stage import Done
from dgprune.statistics import Interval, speedup_interval
from dgprune.structure import Structure
from pruning.plan import Plan, everything, plan_json

# What a speedup can be measured on, and the format that is shipped to it.
RUNTIMES = {"onnxruntime": "onnx", "openvino": "openvino", "tensorrt": "tensorrt"}
Invoke = Callable[[Sequence[str]], Done]


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """The speedup over the dense model that is wanted, and where it is measured."""

    speedup: float
    runtime: str = "onnxruntime"
    batch_size: int = 1
    threads: int = 1
    tier: str = "smoke"

    def __post_init__(self) -> None:
        if self.runtime not in RUNTIMES:
            raise DgpruneError(
                f"--runtime {self.runtime!r} cannot be measured; it must be one of "
                f"{', '.join(RUNTIMES)}"
            )
        require_between("--speedup", self.speedup, 1, 1000)
        require_between("--batch", self.batch_size, 1, 4096)
        require_between("--threads", self.threads, 1, 1024)


@dataclass(kw_only=True)
class Shipped:
    """Times plans as shipped: cut, exported and benched by the commands a user would type."""

    source: SourceSpec
    dense: Structure
    aim: Aim
    folder: Path
    invoke: Invoke
    baseline: Path | None = field(default=None, init=False)

    def speedup(self, plan: Plan) -> Interval:
        """Measured speedup of `plan` over the dense model, with its 95 % interval."""
        if self.baseline is None:
            self.baseline = self._export(everything(self.dense))
        artefact = self._export(plan)
        records = self.folder / "latency.jsonl"
        aim = self.aim
        self.invoke(
            [
                *("bench", str(artefact), "--baseline", str(self.baseline)),
                *("--data", self.source.data, "--batch", str(aim.batch_size)),
                *("--threads", str(aim.threads), "--tier", aim.tier, "--records", str(records)),
                *("--runtime", aim.runtime),
                "--quiet",
                *self._bad_images(),
            ]
        )
        sha256 = open_artefact(artefact).artefact.sha256
        (record,) = (
            entry.record
            for entry in read_records(records)
            if isinstance(entry.record, LatencyRecord) and entry.record.subject.sha256 == sha256
        )
        if not record.replicas:
            raise DgpruneError(f"{artefact.name} was not measured: {'; '.join(record.failures)}")
        return speedup_interval(record.replicas)

    def _export(self, plan: Plan) -> Path:
        source, store = self.source, str(self.folder / "store")
        saved = self.folder / "plan.json"
        saved.write_text(canonical_json(plan_json(plan)), encoding="utf-8")
        given = [] if source.weights is None else ["--weights", source.weights]
        given += ["--drop-dependency", "residual"] if plan.width_after else []
        given += [] if source.image_size is None else ["--image-size", str(source.image_size)]
        pruned = self.invoke(
            [
                *("prune", source.model, *source.where()),
                *("--plan", str(saved), "--no-refit", "--seed", str(source.seed), "--out", store),
                "--quiet",
                *given,
                *self._bad_images(),
            ]
        )
        shipped = ["export", str(pruned.path), "--data", source.data, "--out", store, "--quiet"]
        form = ("--format", RUNTIMES[self.aim.runtime], "--parity-images", "8")
        return self.invoke([*shipped, *form, *self._bad_images()]).path

    def _bad_images(self) -> list[str]:
        return ["--skip-bad-images"] if self.source.skip_bad_images else []
