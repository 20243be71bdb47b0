"""Time and size of the report of 10,000 records (`make bench-report`).

The records are those of a sweep: four targets, three seeds, six criteria, two precisions, accuracy
on four domains and speedups at three batch sizes of every file. Prints seconds and megabytes and
exits 1 where the page takes 10 s or more, or 5 MB or more. Nothing else should run meanwhile.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.fakes.sweep_files import Sweep
from tests.fakes.sweeps import sweep_records, write_records

RECORDS, BOUND_S, BOUND_MB = 10_000, 10.0, 5.0
DOMAINS = ("art_painting", "cartoon", "photo", "sketch")
SWEEP = Sweep(
    model="vit_tiny_patch16_224",
    data="pacs",
    domains=DOMAINS,
    targets=DOMAINS,
    seeds=(0, 1, 2),
    criteria=("fisher", "hessian", "l1", "l2", "random", "taylor"),
    ratios=tuple(n / 11 for n in range(1, 11)),
    executed=(("onnxruntime", "fp32"), ("onnxruntime", "int8")),
    batches=(1, 8, 32),
    images=80,
    calls=10,
    depth=12,
)


def ten_thousand(path: Path) -> Path:
    """A records file of the first 10,000 records of that sweep."""
    return write_records(path, sweep_records(SWEEP)[:RECORDS])


def seconds(records: Path, out: Path) -> float:
    """Time of the command, start of Python included."""
    command = [sys.executable, "-m", "dgprune", "report", str(records), "--out", str(out)]
    start = time.perf_counter()
    subprocess.run([*command, "--quiet"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main(say: Callable[[str], None] = print) -> int:
    """0 where both bounds are kept; 1 where one is not."""
    with tempfile.TemporaryDirectory() as scratch:
        records = ten_thousand(Path(scratch) / "records.jsonl")
        took = seconds(records, Path(scratch) / "out")
        size = (Path(scratch) / "out" / "report.html").stat().st_size / 1e6
    say(f"{RECORDS} records: {took:.1f} s (bound {BOUND_S:g}), {size:.2f} MB (bound {BOUND_MB:g})")
    return int(took >= BOUND_S or size >= BOUND_MB)


if __name__ == "__main__":
    sys.exit(main())
