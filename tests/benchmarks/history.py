"""`make bench-history`: what `make bench` stored, or two of its files side by side.

python -m tests.benchmarks.history [FIRST.json SECOND.json]
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from dgprune.errors import DgpruneError
from dgprune.table import print_table
from reports.history import (
    History,
    first_difference,
    load_history,
    machine_text,
    require_same_machine,
)
from reports.history_page import change_text, latency_text
from tests.benchmarks.machine import this_machine
from tests.benchmarks.measure import STORE

NOTE = (
    "runs of different days are not paired, and a load of 1 or more disturbs them: "
    "make bench-compare BASE=ref gives a verdict"
)


def show(histories: Sequence[History]) -> None:
    """Prints a table a machine, this one first; unlike machines never share a table."""
    here = this_machine()
    for history in sorted(histories, key=lambda history: history.machine != here):
        differs = first_difference(history.machine, here)
        place = f"another machine, it differs in {differs}" if differs else "this machine"
        header = ["commit", "date", "runtime", "arm", "load", "median", "change"]
        print_table(f"{place}: {machine_text(history.machine)}", header, _rows(history))
    print(NOTE, file=sys.stderr)


def _rows(history: History) -> list[list[str]]:
    return [
        [
            point.run,
            point.committed_at[:10],
            point.runtime,
            point.arm,
            f"{point.load_average:.1f}",
            latency_text(point),
            change_text(history.change(point)),
        ]
        for runtime in history.runtimes
        for arm in history.arms
        for point in history.line(runtime, arm)
    ]


def show_two(first: Path, second: Path) -> None:
    """Prints the second run beside the first; raises DgpruneError for unlike machines."""
    before, after = require_same_machine(first, second)
    known = {(point.runtime, point.arm): point for point in before}
    header = ["runtime", "arm", before[0].run, after[0].run, "change"]
    body = []
    for point in after:
        old = known.get((point.runtime, point.arm))
        if old is not None:
            change = change_text(point.median_s / old.median_s - 1)
            medians = [latency_text(old), latency_text(point)]
            body.append([point.runtime, point.arm, *medians, change])
    print_table(machine_text(before[0].machine), header, body)
    print(NOTE, file=sys.stderr)


def main(files: Sequence[str], store: Path = STORE) -> int:
    """0, or 2 where nothing can be shown."""
    try:
        if not files:
            show(load_history(store))
        elif len(files) == 2:
            show_two(*map(Path, files))
        else:
            raise DgpruneError("give no file for the history, or two to compare")
    except DgpruneError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
