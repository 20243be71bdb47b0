"""How long the files beside a report's page take, over records made by hand.

`python -m tests.benchmarks.report_files 10000` prints the seconds of each part, and with
`--profile` where they go.
"""

import cProfile
import pstats
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from reports.beside import files_beside
from reports.data.parquet import is_available
from reports.material import Material
from tests.fakes.many_records import many_entries

T = TypeVar("T")


def timed(what: str, work: Callable[[], T]) -> T:
    """What `work` returns; its seconds of processor time are printed."""
    start = time.process_time()
    found = work()
    print(f"{what:24} {time.process_time() - start:7.2f} s")
    return found


def main(records: int, *, profiled: bool) -> None:
    """Prints the seconds of the tables, and of the files from them."""
    entries = timed("records made", lambda: many_entries(records))
    material = Material(entries=tuple(entries))
    timed("tables of the page", lambda: material.tables)
    profile = cProfile.Profile()
    if profiled:
        profile.enable()
    files = timed("files beside the page", lambda: files_beside(material, parquet=is_available()))
    profile.disable()
    size = sum(map(len, files.values()))
    print(f"{len(entries)} records, {len(files)} files, {size / 1e6:.1f} MB")
    if profiled:
        pstats.Stats(profile).sort_stats("cumulative").print_stats(30)


if __name__ == "__main__":
    main(int(sys.argv[1]), profiled="--profile" in sys.argv)
