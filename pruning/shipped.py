"""Speedup of a plan as it ships: cut, exported and benched by the commands a user would type."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dgprune.artefact import open_artefact
from dgprune.errors import DgpruneError, require_between
from dgprune.judgement import control_of, interval_of, withheld
from dgprune.latency_table import Timed
from dgprune.records import LatencyRecord, read_records
from dgprune.schema import Json, canonical_json, encode
from dgprune.source import SourceSpec
from dgprune.stage import Done
from dgprune.statistics import Interval, median_latency_s
from dgprune.structure import Structure
from pruning.plan import Plan, everything, plan_json

# What a speedup can be measured on, and the format that is shipped to it.
RUNTIMES = {"onnxruntime": "onnx", "openvino": "openvino", "tensorrt": "tensorrt"}
Invoke = Callable[[Sequence[str]], Done]
_MOST = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """The speedup over the dense model that is wanted, and where it is measured.

    With `latency_ms` it follows from what the dense model measures: `over` gives it.
    """

    speedup: float = 1.0
    latency_ms: float | None = None
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
        require_between("--speedup", self.speedup, 1, _MOST)
        if self.latency_ms is not None:
            require_between("--latency-ms", self.latency_ms, 1e-6, 1e9)
        require_between("--batch", self.batch_size, 1, 4096)
        require_between("--threads", self.threads, 1, 1024)

    @property
    def budget(self) -> str:
        """The aim in the name of a checkpoint, such as 2.5x or 12ms."""
        return f"{self.speedup:g}x" if self.latency_ms is None else f"{self.latency_ms:g}ms"

    @property
    def option(self) -> str:
        """The aim as it was typed."""
        if self.latency_ms is None:
            return f"--speedup {self.speedup:g}"
        return f"--latency-ms {self.latency_ms:g} ({self.speedup:.2f}x)"

    def asked(self) -> Json:
        """The aim as the lineage keeps it: what was typed, not what it came to on one day."""
        asked: Json = encode(self)
        del asked["latency_ms" if self.latency_ms is None else "speedup"]
        return asked

    def over(self, dense_ms: float) -> "Aim":
        """The same aim as a speedup over a model that takes `dense_ms` at its batch size.

        Raises DgpruneError where that model is fast enough already, or no cut could ever do.
        """
        assert self.latency_ms is not None
        wanted = dense_ms / self.latency_ms
        if not 1 < wanted <= _MOST:
            most = f"is {wanted:.0f} times less than that; ask for more"
            told = "is no less than that: nothing has to be cut; ask for less"
            raise DgpruneError(
                f"the given model runs in {dense_ms:.3g} ms on {self.runtime} at batch "
                f"{self.batch_size}, and --latency-ms {self.latency_ms:g} "
                f"{most if wanted > 1 else told}"
            )
        return replace(self, speedup=wanted)


@dataclass(kw_only=True)
class Shipped:
    """Times plans as shipped: cut, exported and benched by the commands a user would type."""

    source: SourceSpec
    dense: Structure
    aim: Aim
    folder: Path
    invoke: Invoke
    baseline: Path | None = field(default=None, init=False)
    _files: int = field(default=0, init=False)

    def speedup(self, plan: Plan) -> Timed:
        """Measured speedup of `plan` over the dense model, with its 95 % interval."""
        baseline = self._dense()
        artefact = self._export(plan)
        record, doubt = self._timed(artefact, baseline)
        interval = interval_of(record)
        if interval is None:
            raise DgpruneError(f"{artefact.name} was not measured: {'; '.join(record.failures)}")
        return Timed(interval=interval, doubt=doubt)

    def dense_ms(self) -> Timed:
        """Median latency of the dense model in milliseconds: a number without an interval."""
        baseline = self._dense()
        record, doubt = self._timed(baseline, baseline)
        if not record.replicas:
            raise DgpruneError(f"{baseline.name} was not measured: {'; '.join(record.failures)}")
        found = 1e3 * median_latency_s(record)
        return Timed(interval=Interval(low=found, estimate=found, high=found), doubt=doubt)

    def _dense(self) -> Path:
        if self.baseline is None:
            self.baseline = self._export(everything(self.dense))
        return self.baseline

    def _timed(self, artefact: Path, baseline: Path) -> tuple[LatencyRecord, str | None]:
        """The record of a file, and why there is no verdict on it even at a second try."""
        record, doubt = self._bench(artefact, baseline)
        if doubt is not None:  # a neighbour may be gone; in a new file the control is new too
            self._files += 1
            record, doubt = self._bench(artefact, baseline)
        return record, doubt

    def _bench(self, artefact: Path, baseline: Path) -> tuple[LatencyRecord, str | None]:
        records = self.folder / f"latency-{self._files}.jsonl"
        aim = self.aim
        self.invoke(
            [
                *("bench", str(artefact), "--baseline", str(baseline)),
                *("--data", self.source.data, "--batch", str(aim.batch_size)),
                *("--threads", str(aim.threads), "--tier", aim.tier, "--records", str(records)),
                *("--runtime", aim.runtime),
                "--quiet",
                *self._bad_images(),
            ]
        )
        sha256 = open_artefact(artefact).artefact.sha256
        there = [e.record for e in read_records(records) if isinstance(e.record, LatencyRecord)]
        record = [found for found in there if found.subject.sha256 == sha256][-1]
        return record, "; ".join(withheld(record, control_of(record, there))) or None

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
