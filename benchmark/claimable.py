"""What the tier `claim` asks of its cells before the first call is timed."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from benchmark.builds import is_engine
from benchmark.cells import Cell
from benchmark.subject import OpenSubject
from dgprune.errors import DgpruneError
from dgprune.judgement import of_held_out, unfit
from dgprune.records import Entry, RuntimeSpec

_BUSY = 0.1  # of one core
_LOOK_S = 0.5
_ENGINES = 3


def require_claimable(cells: Sequence[Cell], entries: Sequence[Entry]) -> None:
    """Raises DgpruneError, saying what is missing, where a cell of tier `claim` can back none."""
    if cells[0].spec.tier != "claim":
        return
    first = cells[0]
    if first.baseline is None:
        raise DgpruneError("--tier claim is for a speedup; name the dense file with --baseline")
    _require_builds(first)
    other = first.baseline_runtime or first.runtime
    for subject, runtime in ((first.candidate, first.runtime), (first.baseline, other)):
        _require_fit(subject)
        _require_accuracy(subject, runtime, entries)
    _require_one_split(first.candidate, first.baseline)
    _require_quiet()


def _require_builds(cell: Cell) -> None:
    for arm, builds in cell.builds.items():
        if is_engine(builds[0]) and len(builds) < _ENGINES:
            raise DgpruneError(
                f"--tier claim needs {_ENGINES} builds of each TensorRT engine, the {arm} has "
                f"{len(builds)} beside it; run the same dgprune export with --build 2 and --build 3"
            )


def _require_fit(subject: OpenSubject) -> None:
    reason = unfit(subject.subject)
    if reason is not None:
        raise DgpruneError(
            f"{subject.folder} {reason}, which backs no claim; use --tier default, or run "
            "dgprune finetune first, with --selection source-val"
        )


def _require_one_split(candidate: OpenSubject, baseline: OpenSubject) -> None:
    mine, theirs = (s.subject.origin for s in (candidate, baseline))
    if mine.split_digest != theirs.split_digest:
        raise DgpruneError(
            f"the arms were made under different splits ({mine.held_out} held out against "
            f"{theirs.held_out}), so their accuracies cannot stand in one claim; use --tier default"
        )


def _require_accuracy(subject: OpenSubject, runtime: RuntimeSpec, entries: Sequence[Entry]) -> None:
    """The accuracy on what was held out must be of these very bytes, and of the same runtime."""
    if of_held_out(subject.subject.sha256, runtime, entries):
        return
    origin = subject.subject.origin
    option = f"--target {origin.target}" if origin.target else f"--protocol {origin.protocol}"
    raise DgpruneError(
        f"--tier claim needs the accuracy of {subject.folder} on {runtime.name} "
        f"({runtime.provider}) in the same --records; run dgprune evaluate on it first, with "
        f"{option} --runtime {runtime.name} --provider {runtime.provider}"
    )


def _require_quiet() -> None:
    busy = busy_cores(Path("/proc/stat"), _LOOK_S)
    if busy > _BUSY:
        raise DgpruneError(
            f"other processes keep {busy:.1f} cores busy; stop them before a claim is measured"
        )


def busy_cores(stat: Path, look_s: float) -> float:
    """How many cores were busy while this process slept for `look_s`; 0 where nobody tells."""
    before = _busy_ticks(stat)
    time.sleep(look_s)
    ticks = _busy_ticks(stat) - before
    return ticks / os.sysconf("SC_CLK_TCK") / look_s


def _busy_ticks(stat: Path) -> int:
    """User, nice, system, interrupt and steal time of all cores."""
    try:
        fields = [int(text) for text in stat.read_text().splitlines()[0].split()[1:]]
    except (OSError, ValueError, IndexError):
        return 0
    user, nice, system, _, _, irq, softirq, steal, *_ = [*fields, *[0] * 8]
    return user + nice + system + irq + softirq + steal
