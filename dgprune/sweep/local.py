"""Workers on this machine: processes that live as long as the sweep and import torch once."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType
from typing import Any

from dgprune.chain import Invoke
from dgprune.sweep.work import Outcome, Place, Task, attempt, pin_threads

LOG = "workers.log"
_PATIENCE_S = 10.0  # for a worker to take away what it had half-made


@dataclass(kw_only=True)
class _Worker:
    """A process, this end of its pipe, and the task it is at, since when."""

    process: Any  # of the spawn context, whose class has no public name
    pipe: Connection
    task: Task | None = None
    since: float = 0.0


class LocalPool:
    """`jobs` processes with `cpus` threads each; one that dies is replaced."""

    def __init__(self, place: Place, invoke: Invoke, *, jobs: int, cpus: int) -> None:
        self._start = (place, invoke, cpus)
        self._jobs = jobs
        self._workers: list[_Worker] = []

    @property
    def slots(self) -> int:
        """How many cells run at a time."""
        return self._jobs

    @property
    def capacity(self) -> int:
        """As many tasks as workers: a task is given to the one that will do it."""
        return self._jobs

    def submit(self, task: Task) -> None:
        """Hands `task` to a worker that has none."""
        while True:
            worker = next((w for w in self._workers if w.task is None), None) or self._hire()
            try:
                worker.pipe.send(task)
            except OSError:  # it died while it had nothing to do
                self._bury(worker)
                continue
            worker.task, worker.since = task, time.perf_counter()
            return

    def wait(self, timeout_s: float) -> Sequence[Outcome]:
        """The tasks that ended, one of a worker that died among them."""
        busy: dict[Any, _Worker] = {w.pipe: w for w in self._workers if w.task is not None}
        return [self._outcome(busy[pipe]) for pipe in wait(list(busy), timeout_s)]

    def stop(self) -> None:
        """Ends all workers; a second Ctrl-C does not wait for them."""
        for worker in self._workers:
            worker.process.terminate() if worker.task else worker.pipe.close()
        try:
            deadline = time.monotonic() + _PATIENCE_S
            for worker in self._workers:
                worker.process.join(max(0.0, deadline - time.monotonic()))
        finally:
            for worker in self._workers:
                worker.process.kill()
                worker.process.join()
            self._workers.clear()

    def _hire(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, *self._start), name="dgprune-cell")
        process.start()
        theirs.close()  # so that the pipe ends when the worker does
        self._workers.append(_Worker(process=process, pipe=ours))
        return self._workers[-1]

    def _bury(self, worker: _Worker) -> str:
        """Takes a dead worker off the list; what it died of."""
        worker.pipe.close()
        worker.process.join()
        self._workers.remove(worker)
        code = int(worker.process.exitcode or 0)
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit {code}"

    def _outcome(self, worker: _Worker) -> Outcome:
        task, worker.task = worker.task, None
        assert task is not None
        try:
            outcome: Outcome = worker.pipe.recv()
        except (EOFError, OSError):
            cause = self._bury(worker)
            return Outcome(
                cell=task.cell.id,
                seconds=time.perf_counter() - worker.since,
                where=str(worker.process.pid),
                error=f"its worker died ({cause}; see {LOG})",
                again=True,
            )
        return outcome


def _serve(pipe: Connection, place: Place, invoke: Invoke, cpus: int) -> None:
    """The life of a worker: task after task, until the driver closes the pipe or is gone."""
    pin_threads(cpus)
    _write_to(Path(place.store) / LOG)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the driver, which ends us
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=_follow_the_driver, daemon=True).start()
    with suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            task = pipe.recv()
            pipe.send(attempt(task, place, invoke))


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _follow_the_driver() -> None:
    """Ends this process with the driver's, so that no cell is made twice at a time."""
    driver = multiprocessing.parent_process()
    assert driver is not None
    driver.join()
    os._exit(1)


def _write_to(log: Path) -> None:
    """Sends what libraries print to a file: the terminal is the driver's."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.close(descriptor)
