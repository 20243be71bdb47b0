"""What a measuring process is told to do, and how it starts and ends."""

import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.harness import ClockWentBackError
from dgprune.data.preprocessing import Bytes
from dgprune.errors import DgpruneError
from dgprune.records import RuntimeSpec
from dgprune.runtimes import OutOfMemoryError
from dgprune.schema import decode, encode, read_json
from dgprune.timing import Arm, BenchSpec

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmJob:
    """One arm: the folder of its file, and what executes it."""

    folder: str
    runtime: RuntimeSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the process measures: its arms, and how."""

    arms: dict[Arm, ArmJob]
    spec: BenchSpec
    batch_size: int
    batches: int

    @property
    def threads(self) -> int:
        """Threads of every arm."""
        return max(arm.runtime.threads for arm in self.arms.values())

    def parts(self, pixels: Bytes) -> list[Bytes]:
        """The batches [batch, px, px, 3] of pixels [images, px, px, 3]."""
        size = self.batch_size
        return [pixels[i * size : (i + 1) * size] for i in range(self.batches)]


def pin(threads: int) -> None:
    """Keeps this process on as many cores as it has threads, the last ones that it may use."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[-threads:])


def end_with_parent() -> None:
    """Has the kernel kill this process when the one that waits for it is killed.

    Left alone it would go on for minutes, and disturb what is measured next.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


def serve(measure: Callable[[Job, Bytes], Any]) -> None:
    """Reads the files of the job and of the pixels, writes the file of what `measure` found."""
    end_with_parent()
    source, array, result = map(Path, sys.argv[1:4])
    job = decode(Job, read_json(source), where=str(source))
    pin(job.threads)
    try:
        found = measure(job, np.load(array))
    except OutOfMemoryError as error:  # a smaller batch may well fit
        print(error, file=sys.stderr)
        sys.exit(1)
    except DgpruneError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except ClockWentBackError as error:
        print(f"{error}: fix the machine's clock source, and measure again", file=sys.stderr)
        sys.exit(2)
    except MemoryError:
        print("out of memory", file=sys.stderr)
        sys.exit(1)
    result.write_text(json.dumps(encode(found)), encoding="utf-8")
