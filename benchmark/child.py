"""The parent's side of a measuring process: a fresh interpreter, alone while it runs."""

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TypeVar

import numpy as np

from benchmark.job import Job
from dgprune.data.preprocessing import Bytes
from dgprune.errors import DgpruneError
from dgprune.schema import decode, encode, read_json
from dgprune.store import explained

T = TypeVar("T")
_PATIENCE_S = 600.0  # beside what the job may take


class ProcessDiedError(DgpruneError):
    """The process crashed, ran out of memory or of time: a result, and no reason to stop."""


def in_child(module: str, job: Job, pixels: Bytes, kind: type[T], name: str) -> T:
    """The `kind` that `python -m module` leaves of `job` on pixels [images, px, px, 3].

    This process sleeps meanwhile. `name` says in an error what was measured. Raises DgpruneError
    with what the process said where it refused, ProcessDiedError where it died.
    """
    scratch = tempfile.TemporaryDirectory(prefix="dgprune-bench-")
    with explained(Path(scratch.name), "TMPDIR"), scratch as folder:
        files = [Path(folder) / part for part in ("job.json", "pixels.npy", "result.json")]
        files[0].write_text(json.dumps(encode(job)), encoding="utf-8")
        files[1].write_bytes(_npy(pixels))
        command = [sys.executable, "-P", "-m", module, *map(str, files)]
        patience = job.spec.cell_s + _PATIENCE_S
        try:
            child = subprocess.run(
                command,
                env=_environment(job.threads),
                capture_output=True,
                text=True,
                check=False,
                timeout=patience,
            )
        except subprocess.TimeoutExpired:
            raise ProcessDiedError(f"{name}: no result after {patience:.0f} s") from None
        if child.returncode != 0:
            _explain(child, name)
        return decode(kind, read_json(files[2]), where="the measuring process")


def _explain(child: "subprocess.CompletedProcess[str]", name: str) -> None:
    """Raises what the exit of `child` means."""
    reason = (child.stderr.strip().splitlines() or ["no message"])[-1]
    if child.returncode == 2:  # the child said what to do
        raise DgpruneError(reason)
    if child.returncode == -signal.SIGKILL:
        raise ProcessDiedError(f"{name}: killed, as the system does when memory runs out")
    if child.returncode < 0:
        word = signal.Signals(-child.returncode).name
        raise ProcessDiedError(f"{name}: died of {word}: {reason}")
    raise ProcessDiedError(f"{name}: failed (exit {child.returncode}): {reason}")


def _npy(pixels: Bytes) -> bytes:
    """The bytes of a .npy file (numpy's own writer hides what the operating system refused)."""
    buffer = io.BytesIO()
    np.save(buffer, pixels)
    return buffer.getvalue()


def _environment(threads: int) -> dict[str, str]:
    pools = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {**os.environ, "ORT_DISABLE_TELEMETRY": "1", **dict.fromkeys(pools, str(threads))}
