"""What is timed: a cell is two files (or one), a runtime each, and one batch size."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmark.builds import build_of, builds_of
from benchmark.comparable import (
    require_comparable,
    require_difference,
    require_one_onnxruntime,
)
from benchmark.job import ArmJob, Job
from benchmark.subject import OpenSubject, open_subject
from benchmark.tiers import tier
from dgprune.environment import current_environment, installed_libraries
from dgprune.errors import MAX_SEED, DgpruneError, require_between
from dgprune.records import RuntimeSpec, Varies
from dgprune.runtimes.opening import runtime_spec
from dgprune.schema import digest, encode
from dgprune.timing import Arm, BenchSpec

BATCHES = 8
_SWEEP = (1, 2, 4, 8, 16, 32, 64, 128)
VARIES: tuple[Varies, ...] = ("network", "precision", "runtime")


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencySpec:
    """What to time: files, batch sizes, and the data whose source images are fed in.

    `varies` is what the arms differ in. `baseline_runtime` and `baseline_provider` are for arms
    that differ in the runtime.
    """

    artefact: str
    data: str
    baseline: str | None = None
    varies: Varies = "network"
    runtime: str | None = None
    provider: str | None = None
    baseline_runtime: str | None = None
    baseline_provider: str | None = None
    allow_fallback: bool = False
    batch_sizes: tuple[int, ...] = (1, 8, 32)
    tier: str = "default"
    cold_start: bool = True
    threads: int = 1
    seed: int = 0
    skip_bad_images: bool = False

    def __post_init__(self) -> None:
        if not self.batch_sizes:
            raise DgpruneError("--batch takes numbers of 1 or more, such as 1,8,32")
        for size in self.batch_sizes:
            require_between("--batch", size, 1, 4096)
        require_between("--seed", self.seed, 0, MAX_SEED)
        if self.varies not in VARIES:
            raise DgpruneError(f"--vary {self.varies!r} must be one of {', '.join(VARIES)}")
        if self.varies != "network" and self.baseline is None:
            raise DgpruneError(f"--vary {self.varies} needs --baseline, the file to compare with")
        others = (self.baseline_runtime, self.baseline_provider)
        if self.varies != "runtime" and any(others):
            raise DgpruneError(
                "--baseline-runtime and --baseline-provider are for --vary runtime; remove them"
            )
        cores = len(os.sched_getaffinity(0))
        if not 1 <= self.threads <= cores:
            raise DgpruneError(f"--threads {self.threads}: this process may use 1 to {cores} cores")


def batch_sizes(text: str) -> tuple[int, ...]:
    """Batch sizes from `1,8,32` or `sweep`; raises DgpruneError where that is neither."""
    if text == "sweep":
        return _SWEEP
    try:
        return tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        raise DgpruneError(
            f"--batch {text!r} is neither sweep nor numbers such as 1,8,32"
        ) from None


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One thing to time: a candidate, and a baseline where there is one."""

    candidate: OpenSubject
    baseline: OpenSubject | None
    varies: Varies
    runtime: RuntimeSpec
    baseline_runtime: RuntimeSpec | None
    spec: BenchSpec
    batch_size: int
    seed: int
    cold_start: bool = True

    def digest(self) -> str:
        """What names the cell in a records file."""
        asked: dict[str, Any] = {
            "bench": self.candidate.subject.sha256,
            "baseline": self.baseline.subject.sha256 if self.baseline else None,
            "runtime": encode(self.runtime),
            "spec": encode(self.spec),
            "batch_size": self.batch_size,
            "environment": encode(current_environment()),
        }
        if self.baseline_runtime is not None:
            asked["baseline_runtime"] = encode(self.baseline_runtime)
        builds = {arm: [b.subject.sha256 for b in found] for arm, found in self.builds.items()}
        if any(len(found) > 1 for found in builds.values()):  # another build is another cell
            asked["builds"] = builds
        return digest(asked)

    def name(self) -> str:
        """The cell for a person."""
        against = f" against {self.baseline.subject.label}" if self.baseline else ""
        return f"{self.candidate.subject.label}{against}, batch {self.batch_size}"

    def control(self) -> "Cell":
        """The baseline against a second copy of itself, on the same path."""
        assert self.baseline is not None
        return replace(
            self,
            candidate=self.baseline,
            varies="network",
            runtime=self.baseline_runtime or self.runtime,
            baseline_runtime=None,
            spec=replace(
                self.spec,
                seed=_order_seed(self.seed, self.batch_size, self.baseline, self.baseline),
            ),
        )

    def build(self, replica: int) -> int:
        """The build that process number `replica` runs."""
        return build_of(replica, self.builds)

    @cached_property
    def builds(self) -> dict[Arm, tuple[OpenSubject, ...]]:
        """The builds of each arm."""
        arms: dict[Arm, tuple[OpenSubject, ...]] = {}
        if self.baseline is not None:
            arms["baseline"] = builds_of(self.baseline)
        arms["candidate"] = builds_of(self.candidate)
        return arms

    def job(self, replica: int) -> Job:
        """What process number `replica` is told; each draws anew which arm starts.

        Every second one loads the candidate first: a file that is loaded second runs up to half a
        per cent faster, as 20 runs of a file against itself have shown.
        """
        arms = self._arms(self.build(replica))
        return Job(
            arms=dict(reversed(arms.items())) if replica % 2 else arms,
            spec=replace(self.spec, seed=self.spec.seed + replica),
            batch_size=self.batch_size,
            batches=BATCHES,
        )

    def cold_job(self, arm: Arm) -> Job:
        """What the process of the cold start of `arm` is told."""
        return Job(
            arms={arm: self._arms(0)[arm]},
            spec=self.spec,
            batch_size=self.batch_size,
            batches=BATCHES,
        )

    def _arms(self, build: int) -> dict[Arm, ArmJob]:
        runtimes = {"baseline": self.baseline_runtime or self.runtime, "candidate": self.runtime}
        return {
            arm: _arm(subjects[min(build, len(subjects) - 1)], runtimes[arm])
            for arm, subjects in self.builds.items()
        }


def _arm(subject: OpenSubject, runtime: RuntimeSpec) -> ArmJob:
    return ArmJob(folder=str(subject.folder.resolve()), runtime=runtime)


def cells_of(spec: LatencySpec) -> list[Cell]:
    """A cell a batch size; raises DgpruneError where the arms may not be compared."""
    require_one_onnxruntime(installed_libraries())
    candidate = open_subject(Path(spec.artefact))
    baseline = open_subject(Path(spec.baseline)) if spec.baseline else None
    runtime = _runtime(spec, candidate, spec.runtime, spec.provider)
    other = None
    if baseline is not None and spec.varies == "runtime":
        other = _runtime(spec, baseline, spec.baseline_runtime, spec.baseline_provider)
    if baseline is not None:
        require_comparable(candidate, baseline, spec.varies)
        require_difference(candidate, baseline, spec.varies, other == runtime)
    for arm in (candidate, baseline):
        if arm is not None:
            _require_sizes(arm, spec.batch_sizes)
    return [
        Cell(
            candidate=candidate,
            baseline=baseline,
            varies=spec.varies,
            runtime=runtime,
            baseline_runtime=other,
            spec=tier(spec.tier, _order_seed(spec.seed, size, candidate, baseline)),
            batch_size=size,
            seed=spec.seed,
            cold_start=spec.cold_start,
        )
        for size in spec.batch_sizes
    ]


def _require_sizes(subject: OpenSubject, sizes: Sequence[int]) -> None:
    """Raises DgpruneError where a file cannot take one of the batch `sizes`."""
    form = subject.form
    for size in sizes:
        if form.batch not in (None, size):
            raise DgpruneError(f"{subject.file} was exported for batch {form.batch}, not {size}")
        if form.largest is not None and size > form.largest:
            raise DgpruneError(
                f"{subject.file} was built for batches up to {form.largest}, not {size}; "
                f"export again with --largest-batch {size}"
            )


def _runtime(
    spec: LatencySpec, subject: OpenSubject, name: str | None, provider: str | None
) -> RuntimeSpec:
    return runtime_spec(
        subject.subject.format, name, provider, spec.threads, allow_fallback=spec.allow_fallback
    )


def _order_seed(
    seed: int, batch_size: int, candidate: OpenSubject, baseline: OpenSubject | None
) -> int:
    """Draws which arm starts: another draw for every pair and batch size."""
    other = baseline.subject.sha256 if baseline else ""
    return int(digest([seed, batch_size, candidate.subject.sha256, other])[:8], 16)
