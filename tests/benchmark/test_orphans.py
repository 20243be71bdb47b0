"""What is left of a measurement whose command is killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import TinyChain


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills a process with its parent")
def test_a_measuring_process_does_not_outlive_a_killed_bench(
    chain: TinyChain, tmp_path: Path
) -> None:
    arms = [str(chain.pruned_artefact), "--baseline", str(chain.dense_artefact)]
    rest = ["--data", chain.data, "--batch", "1", "--records", str(tmp_path / "records.jsonl")]
    command = [sys.executable, "-m", "dgprune", "bench", *arms, *rest]
    killed = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_until(lambda: any(measuring(killed.pid)))
    (worker,) = measuring(killed.pid)
    os.kill(worker, signal.SIGSTOP)  # it cannot end by having measured enough
    killed.kill()
    killed.wait()
    try:
        wait_until(lambda: not is_running(worker))
    finally:
        if is_running(worker):
            os.kill(worker, signal.SIGKILL)
    assert not (tmp_path / "records.jsonl").exists()


def measuring(parent: int) -> Iterator[int]:
    """The processes that `parent` waits for and that have loaded a runtime."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat, maps = (folder / "stat").read_text(), (folder / "maps").read_text()
        except OSError:  # it has ended, or is another user's
            continue
        if stat.rpartition(") ")[2].split()[1] == str(parent) and "onnxruntime" in maps:
            yield int(folder.name)


def is_running(process: int) -> bool:
    """Whether it is there and has not ended."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0]
    except OSError:
        return False
    return state != "Z"


def wait_until(holds: Callable[[], bool]) -> None:
    """Returns once `holds` does; half a minute is enough for it."""
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, "not within half a minute"
        time.sleep(0.05)
