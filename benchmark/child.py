"""The parent's side of a timing process: a fresh interpreter a cell, alone while it runs."""

import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TypeVar

import numpy as np

from benchmark.worker import Job
from dgprune.data.preprocessing import Bytes
from dgprune.errors import DgpruneError
from dgprune.schema import decode, encode, read_json
from dgprune.store import explained

T = TypeVar("T")


def in_child(module: str, job: Job, pixels: Bytes, kind: type[T], name: str) -> T:
    """The `kind` that `python -m module` leaves of `job` on pixels [images, px, px, 3].

    This process sleeps meanwhile. `name` says in an error what was measured. Raises
    DgpruneError where the process fails.
    """
    scratch = tempfile.TemporaryDirectory(prefix="dgprune-bench-")
    with explained(Path(scratch.name), "TMPDIR"), scratch as folder:
        files = [Path(folder) / name for name in ("job.json", "pixels.npy", "result.json")]
        files[0].write_text(json.dumps(encode(job)))
        files[1].write_bytes(_npy(pixels))
        child = subprocess.run(
            [sys.executable, "-P", "-m", module, *map(str, files)],
            env=_environment(job.runtime.threads),
            capture_output=True,
            text=True,
            check=False,
        )
        if child.returncode != 0:
            reason = (child.stderr.strip().splitlines() or ["no message"])[-1]
            if child.returncode == 2:  # the child said what to do
                raise DgpruneError(reason)
            raise DgpruneError(f"timing {name} failed (exit {child.returncode}): {reason}")
        return decode(kind, read_json(files[2]), where="the timing process")


def _npy(pixels: Bytes) -> bytes:
    """The bytes of a .npy file (numpy's own writer hides what the operating system refused)."""
    buffer = io.BytesIO()
    np.save(buffer, pixels)
    return buffer.getvalue()


def _environment(threads: int) -> dict[str, str]:
    pools = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {**os.environ, "ORT_DISABLE_TELEMETRY": "1", **dict.fromkeys(pools, str(threads))}
