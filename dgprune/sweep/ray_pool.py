"""Workers of a Ray cluster, or of a Ray that is started here for the time of the sweep."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import Any

from dgprune.chain import Invoke
from dgprune.errors import DgpruneError
from dgprune.sweep.work import Outcome, Place, Task, attempt, pin_threads

AUTO = "auto"
_ANSWER_S = 8.0  # Ray itself tries for two minutes and then ends the process
_LOOK_S = 5.0  # how often the size of the cluster is asked for
_CANCEL_S = 5.0
_STORE_BYTES = 100 * 2**20  # cells hand over names of folders; Ray would take 30 % of the memory


class RayPool:
    """Cells as Ray tasks, each with `cpus` cores and a share of `gpus` GPUs.

    The driver tries a lost task again by itself, as it does for local workers, so that a cell's
    tries are counted in one place; Ray's own retries are off.
    """

    def __init__(
        self, address: str, place: Place, invoke: Invoke, *, cpus: int, gpus: float
    ) -> None:
        self._ray = _connect(address)
        self._start = (place, invoke, cpus)
        self._needs = {"CPU": float(cpus), **({"GPU": gpus} if gpus else {})}
        remote = self._ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)
        self._run = remote(_attempt)
        self._running: dict[Any, tuple[Task, float]] = {}
        self._slots, self._looked = 0, -_LOOK_S
        try:
            self._require_room(address)
        except DgpruneError:
            self._ray.shutdown()
            raise

    @property
    def slots(self) -> int:
        """How many cells fit the cluster as it is now; nodes come and go."""
        if time.monotonic() - self._looked > _LOOK_S:
            there = self._ray.cluster_resources()
            room = min(there.get(name, 0.0) / share for name, share in self._needs.items())
            self._slots, self._looked = max(1, int(room)), time.monotonic()
        return self._slots

    @property
    def capacity(self) -> int:
        """Twice the slots: no slot waits for the driver, and a cluster that grows sees demand."""
        return 2 * self.slots

    def submit(self, task: Task) -> None:
        """Queues `task` in the cluster."""
        self._running[self._run.remote(task, *self._start)] = (task, time.perf_counter())

    def wait(self, timeout_s: float) -> Sequence[Outcome]:
        """The tasks that ended, those of lost nodes and workers among them."""
        found, _ = self._ray.wait(list(self._running), timeout=timeout_s)
        if found:  # whatever else has ended meanwhile comes along
            found, _ = self._ray.wait(
                list(self._running), num_returns=len(self._running), timeout=0
            )
        return [self._outcome(reference) for reference in found]

    def stop(self) -> None:
        """Cancels what runs, so that it takes half-made folders away, and leaves the cluster."""
        for reference in self._running:
            self._ray.cancel(reference)
        with suppress(self._ray.exceptions.RayError):
            if self._running:
                references = list(self._running)
                self._ray.wait(references, num_returns=len(references), timeout=_CANCEL_S)
        self._running.clear()
        self._ray.shutdown()

    def _outcome(self, reference: Any) -> Outcome:
        task, since = self._running.pop(reference)
        try:
            outcome: Outcome = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            first = (str(error).strip().splitlines() or [""])[0]
            return Outcome(
                cell=task.cell.id,
                seconds=time.perf_counter() - since,
                where="unknown",
                error=f"its worker was lost ({type(error).__name__}: {first})",
                again=True,
            )
        return outcome

    def _require_room(self, address: str) -> None:
        """A task that fits nowhere would wait for ever."""
        there = self._ray.cluster_resources()
        for name, share in self._needs.items():
            if there.get(name, 0.0) < share:
                raise DgpruneError(
                    f"--ray {address} offers {there.get(name, 0.0):g} {name} in all and a cell "
                    f"needs {share:g}; lower --{name.lower()}s-per-cell"
                )


def _attempt(task: Task, place: Place, invoke: Invoke, cpus: int) -> Outcome:
    """How one try of `task` ended, in a worker of Ray's."""
    pin_threads(cpus)
    return attempt(task, place, invoke)


def require_ray(address: str) -> None:
    """Raises DgpruneError where Ray is missing, or no cluster answers at `address`."""
    if find_spec("ray") is None:
        raise DgpruneError("--ray: ray is not installed; pip install 'dgprune[ray]', or use --jobs")
    if address != AUTO:
        _require_answer(address)
        return
    named = os.environ.get("RAY_ADDRESS", "")
    if named not in ("", AUTO, "local") and not _answers(named):
        raise DgpruneError(
            f"RAY_ADDRESS is {named}, where no Ray answers; unset it to have a Ray started here"
        )


def _connect(address: str) -> Any:
    """The module ray, connected."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    quiet: Any = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        with _sigterm_kept():
            if address != AUTO:
                ray.init(address=address, **quiet)
            elif _answers(os.environ.get("RAY_ADDRESS", "")):
                ray.init(address="auto", **quiet)
            else:
                cores = len(os.sched_getaffinity(0))
                alone: Any = {"include_dashboard": False, "object_store_memory": _STORE_BYTES}
                ray.init(address="local", num_cpus=cores, **alone, **quiet)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        raise DgpruneError(f"--ray {address}: {error}; see `ray status`, or use --jobs") from None
    return ray


@contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Ray's handler would end the command with code 1, a failed cell's; it is to end as Ctrl-C."""
    kept = signal.getsignal(signal.SIGTERM)
    yield
    if signal.getsignal(signal.SIGTERM) is not kept:
        signal.signal(signal.SIGTERM, kept)


def _require_answer(address: str) -> None:
    """Raises DgpruneError where no head of a Ray cluster answers at `address` within seconds."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise DgpruneError(f"--ray {address!r} must be auto or HOST:PORT of the cluster's head")
    try:
        socket.create_connection((host, int(port)), _ANSWER_S / 2).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise DgpruneError(f"--ray {address} {_ADVICE} ({error})") from None
    if not _answers(address):
        raise DgpruneError(f"--ray {address} {_ADVICE} (something else listens there)")


_ADVICE = (
    "does not answer; start one with `ray start --head`, name the address that it prints, "
    "or pass --ray auto"
)


def _answers(address: str) -> bool:
    """Whether Ray's own health check finds a head; a process apart, for it cannot be given up."""
    where = ["--address", address] if address else []
    try:
        done = subprocess.run(
            [sys.executable, "-m", "ray.scripts.scripts", "health-check", *where],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=_ANSWER_S,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
