"""What a sweep adds to a thousand cells without work (`make bench-sweep`): milliseconds a cell.

A cell is the file operations of its commands and nothing else. Each pool runs the same plans. The
bounds: 50 ms a cell, and a cell of 1000 costs no more than one of 200 and a half.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from dgprune.sweep.journal import JOURNAL, read_journal
from dgprune.sweep.sweep import SweepSpec, sweep
from tests.conftest import make_folder
from tests.dgprune.sweep.trivial import invoke, write_plan

BOUND_MS, GROWTH = 50.0, 1.5
DOMAINS, CRITERIA = 4, 49


def spec_of(root: Path, data: Path, seeds: int) -> SweepSpec:
    """A plan of `seeds` x 4 targets x (1 dense and 49 pruned) cells."""
    criteria = [f"c{number}" for number in range(CRITERIA)]
    plan = root / f"{seeds}.toml"
    write_plan(plan, data, criteria=criteria, seeds=range(seeds))
    return SweepSpec(plan=plan, out=root / "none")


def milliseconds(spec: SweepSpec) -> float:
    """Time a cell that was not spent in cells: start, hand-over, journal, records at the end."""
    before = len(read_journal(spec.out / JOURNAL))
    start = time.perf_counter()
    done = sweep(spec, invoke)
    wall = time.perf_counter() - start
    slots = len(os.sched_getaffinity(0)) if spec.ray else spec.jobs
    inside = sum(ended.seconds for ended in read_journal(spec.out / JOURNAL)[before:])
    return 1e3 * (wall - inside / slots) / int(done.summary["cells"])


def main(say: Callable[[str], None] = print) -> int:
    """0 where every pool keeps the bounds; 1 where one does not."""
    wrong = False
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        data = make_folder(root / "noise", domains=DOMAINS)
        few, many = spec_of(root, data, 1), spec_of(root, data, 5)
        for name, ray in (("local", None), ("ray", "auto")):
            small = milliseconds(replace(few, out=root / f"{name}-few", ray=ray))
            large = milliseconds(replace(many, out=root / f"{name}-many", ray=ray))
            again = milliseconds(replace(many, out=root / f"{name}-many", ray=ray))
            say(
                f"{name}: {large:.1f} ms a cell of 1000, {small:.1f} of 200, "
                f"{again:.2f} where all were done"
            )
            wrong |= large > BOUND_MS or large > GROWTH * small
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
