"""`make bench`: times every runtime and arm, and stores one file a commit and machine.

    python -m tests.benchmarks.measure [PYTEST OPTIONS]

The file goes to .benchmarks/MACHINE/COMMIT.json, whole or not at all, in pytest-benchmark's format.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from dgprune.errors import DgpruneError
from reports.history import machine_key
from tests.benchmarks.machine import this_machine
from tests.benchmarks.trees import ROOT, commit_of, is_dirty

STORE = ROOT / ".benchmarks"
OPTIONS = (
    "--benchmark-enable",
    "--benchmark-warmup=on",
    "--benchmark-warmup-iterations=50",
    "--benchmark-min-rounds=100",
    "--benchmark-max-time=3",
    "--benchmark-disable-gc",
    "--benchmark-columns=median,iqr,min,max,rounds",
    "--benchmark-sort=name",
    "-q",
)


def stored_at(store: Path) -> Path:
    """The file of this commit on this machine; `-changed` where files differ from the commit."""
    try:
        commit = commit_of(ROOT, "HEAD")[:12] + ("-changed" if is_dirty(ROOT) else "")
    except DgpruneError:
        commit = "unversioned"  # the history then goes by the time of measuring
    return store / machine_key(this_machine()) / f"{commit}.json"


def main(options: Sequence[str], store: Path = STORE) -> int:
    """Pytest's exit code; the file's path is printed where all went well."""
    path = stored_at(store)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".tmp")
    test = str(Path(__file__).with_name("test_latency.py"))
    try:
        code = pytest.main([test, *OPTIONS, f"--benchmark-json={fresh}", *options])
        if code == 0:
            fresh.replace(path)
            print(path.relative_to(store.parent))
    finally:
        fresh.unlink(missing_ok=True)
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
