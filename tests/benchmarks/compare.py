"""`make bench-compare BASE=ref`: what the code of another commit makes against what this one makes.

    python -m tests.benchmarks.compare BASE [--tier TIER] [--runtime NAME]...

Either side makes its files by the same recipe (`artefacts`) in a process of its own; then each pair
is timed in alternation, ABBA, by `dgprune bench`. It is the files that are compared: both are
executed by the code that is here, so a change of what executes a checkpoint (torch) or opens a
session does not show. Exits 1 where a file became slower, 2 where something could not be compared,
else 0.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.cells import LatencySpec
from benchmark.latency import bench
from benchmark.tiers import TIERS
from dgprune.errors import DgpruneError
from dgprune.judgement import control_of, doubts, interval_of, judge
from dgprune.records import LatencyRecord, read_records
from dgprune.statistics import Interval, Verdict, median_latency_s
from tests.benchmarks.artefacts import DATA, RUNTIMES, SMALL, Arms, Size, installed
from tests.benchmarks.trees import ROOT, commit_of, is_dirty, worktree

RECORDS = ROOT / "runs" / "compare" / "records.jsonl"
_RECIPE = Path(__file__).with_name("artefacts.py")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The same arm on the same runtime, made by either side."""

    runtime: str
    arm: str
    base: Path
    head: Path

    @property
    def name(self) -> str:
        """For a person."""
        return f"{self.runtime} {self.arm}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One line about a pair, and what it means for the exit code."""

    line: str
    exit_code: int


# What was timed, and the A/A control of it where one was.
Measured = tuple[LatencyRecord, LatencyRecord | None]
Measure = Callable[[Pair], Measured]
Make = Callable[[Path, Path], Arms]


def outcome(pair: Pair, measure: Measure) -> Outcome:
    """What timing `pair` says; what cannot be compared is told, not raised."""
    try:
        record, control = measure(pair)
    except DgpruneError as error:
        return Outcome(line=f"{pair.name}: REFUSED, {error}", exit_code=2)
    interval = interval_of(record)
    if interval is None:
        told = "; ".join(doubts(record, control))
        return Outcome(line=f"{pair.name}: NOT MEASURED, {told}", exit_code=2)
    numbers = _numbers(record, interval)
    if record.is_control:
        return Outcome(
            line=f"{pair.name}: SAME FILE, so this is the noise of the machine: {numbers}",
            exit_code=0,
        )
    found = judge(record, control)
    told = "".join(f"; {doubt}" for doubt in doubts(record, control))
    return Outcome(
        line=f"{pair.name}: {found.value.upper()}, {numbers}{told}",
        exit_code=1 if found is Verdict.SLOWER else 0,
    )


def _numbers(record: LatencyRecord, interval: Interval) -> str:
    base_s, head_s = median_latency_s(record, "baseline"), median_latency_s(record)
    return (
        f"{head_s * 1e3:.3f} ms against {base_s * 1e3:.3f} ms, "
        f"{interval.estimate:.3f}x as fast [{interval.low:.3f}, {interval.high:.3f}]"
    )


def timed(records: Path, tier: str) -> Measure:
    """A measurement by the project's own harness, whose records are appended to `records`."""

    def measure(pair: Pair) -> Measured:
        spec = LatencySpec(
            artefact=str(pair.head),
            baseline=str(pair.base),
            data=DATA,
            runtime=pair.runtime,
            batch_sizes=(1,),
            tier=tier,
        )
        bench(spec, records)
        there = [entry.record for entry in read_records(records)]
        timed = [record for record in there if isinstance(record, LatencyRecord)]
        return timed[-1], control_of(timed[-1], timed)  # the control is measured first

    return measure


def maker(size: Size, runtimes: Sequence[str]) -> Make:
    """Makes the files of a tree in a process that imports that tree's code."""

    def make(tree: Path, out: Path) -> Arms:
        arguments = (str(tree), str(out), size.model, str(size.image_size_px), *runtimes)
        done = subprocess.run(
            [sys.executable, "-P", str(_RECIPE), *arguments],
            env={**os.environ, "PYTHONPATH": str(tree), "ORT_DISABLE_TELEMETRY": "1"},
            cwd=tree,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            said = (done.stderr.strip().splitlines() or ["no message"])[-1]
            said = re.sub(r"^[\w.]+: ", "", said)  # the kind of exception
            raise DgpruneError(f"the code of {tree.name} cannot make the files to compare: {said}")
        found = json.loads(done.stdout.splitlines()[-1])
        return {
            name: {arm: Path(path) for arm, path in arms.items()} for name, arms in found.items()
        }

    return make


def present(runtimes: Sequence[str]) -> tuple[str, ...]:
    """Those that are installed, the others told; raises DgpruneError where none is."""
    found = installed(runtimes)
    for name in runtimes:
        if name not in found:
            print(f"{name}: not installed here, left out")
    if not found:
        raise DgpruneError("no runtime to compare on; `dgprune doctor` says how to get one")
    return found


def pairs(base: Arms, head: Arms) -> Iterator[Pair]:
    """The same cells of both sides."""
    for runtime, arms in head.items():
        for arm, folder in arms.items():
            yield Pair(runtime=runtime, arm=arm, base=base[runtime][arm], head=folder)


def compare(base: str, make: Make, measure: Measure, root: Path = ROOT) -> int:
    """The exit code of comparing commit `base` with the files in `root`; prints a line a pair."""
    commit, head = commit_of(root, base), commit_of(root, "HEAD")
    changed = " with changes" if is_dirty(root) else ""
    print(f"base {commit[:9]}, head {head[:9]}{changed}", flush=True)
    code = 0
    with worktree(root, commit) as tree, tempfile.TemporaryDirectory() as scratch:
        sides = [
            make(side, Path(scratch) / name) for side, name in ((tree, "base"), (root, "head"))
        ]
        for pair in pairs(*sides):
            found = outcome(pair, measure)
            print(found.line, flush=True)
            code = max(code, found.exit_code)
    return code


def main(arguments: Sequence[str]) -> int:
    """`compare` for the command line: an error is one line and 2."""
    parser = argparse.ArgumentParser(prog="make bench-compare")
    parser.add_argument("base", metavar="BASE", help="a commit, branch or tag")
    parser.add_argument("--tier", choices=tuple(TIERS), default="default")
    parser.add_argument("--runtime", choices=RUNTIMES, action="append")
    asked = parser.parse_args(arguments)
    RECORDS.unlink(missing_ok=True)  # those of the last comparison
    try:
        make = maker(SMALL, present(asked.runtime or RUNTIMES))
        return compare(asked.base, make, timed(RECORDS, asked.tier))
    except DgpruneError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
