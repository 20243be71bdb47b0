"""What a worker does with a cell: its commands, one after the other, as a user would type them."""

import os
import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from dgprune.chain import Invoke
from dgprune.errors import DgpruneError
from dgprune.schema import file_sha256
from dgprune.stage import Done
from dgprune.store import write_bytes
from dgprune.sweep.cells import DENSE, PREVIOUS, Cell
from dgprune.sweep.made import Made, damage, files_of

_POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a sweep works: absolute paths, which every worker must be able to reach."""

    store: str
    data: str
    skip_bad_images: bool = False

    def records_of(self, cell: str) -> Path:
        """The file that holds the records of one cell."""
        return Path(self.store) / "cells" / f"{cell}.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A cell, and the name of its parent's checkpoint folder where it has one."""

    cell: Cell
    dense: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a task ended: with what it made, or with an error.

    `again` says that another try may end otherwise. `whole` says that no stage had been done
    before, so that `seconds` are those of the whole cell.
    """

    cell: str
    seconds: float
    where: str
    made: Made | None = None
    whole: bool = False
    error: str = ""
    again: bool = False


def attempt(task: Task, place: Place, invoke: Invoke) -> Outcome:
    """How one try of `task` ended, in this process; Ctrl-C passes."""
    start = time.perf_counter()
    made, whole, error, again = None, False, "", False
    try:
        made, whole = _run(task, place, invoke)
    except DgpruneError as refused:
        error = str(refused)
    except Exception as crash:  # a library's own: the cell fails, the others go on
        error, again = f"{type(crash).__name__}: {crash}", True
    return Outcome(
        cell=task.cell.id,
        seconds=time.perf_counter() - start,
        where=f"{socket.gethostname()}:{os.getpid()}",
        made=made,
        whole=whole,
        error=" ".join(error.split()),
        again=again,
    )


def _run(task: Task, place: Place, invoke: Invoke) -> tuple[Made, bool]:
    """What the cell made, and whether every stage was new."""
    cell, store = task.cell, Path(place.store)
    data = ("--data", place.data, *(["--skip-bad-images"] if place.skip_bad_images else []))
    domains = (*data, *cell.where())
    into, seed = ("--out", place.store), ("--seed", str(cell.seed))
    folders = {DENSE: str(store / task.dense)} if task.dense else {}
    fresh: list[bool] = []

    def step(*arguments: str) -> Done:
        done = invoke([folders.get(part, part) for part in arguments])
        fresh.append(done.fresh and not done.resumed)
        folders[PREVIOUS] = str(done.path)
        return done

    for stage in cell.stages:
        checkpoint = step(*stage, *domains, *into, *seed).path
    artefact = step("export", PREVIOUS, *data, *into, *cell.export).path
    records = place.records_of(cell.id)
    if records.is_file():
        fresh.append(False)
    else:
        # Several processes may evaluate one cell where a node was thought lost: each writes apart,
        # out of reach of the others, which take away what killed ones left in the store.
        with tempfile.TemporaryDirectory(prefix="dgprune-cell-") as scratch:
            apart = Path(scratch) / records.name
            step("evaluate", PREVIOUS, *domains, "--records", str(apart), *cell.evaluate)
            write_bytes(records, apart.read_bytes())
    made = Made(
        checkpoint=checkpoint.name,
        artefact=artefact.name,
        records_sha256=file_sha256(records),
        files=files_of(store, checkpoint.name, artefact.name),
    )
    return made, all(fresh)


def pin_threads(count: int) -> None:
    """Holds this process to `count` threads a library; before torch is imported, and after."""
    os.environ.update(dict.fromkeys(_POOLS, str(count)))
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)


def what_is_wrong(made: Made, cell: str, place: Place) -> dict[str, str]:
    """What a cell made that is damaged, by its folder or file; nothing where all is still there."""
    records = place.records_of(cell)
    found = damage(made, Path(place.store))
    if not records.is_file():
        found[records.name] = f"{records.name} is gone"
    elif file_sha256(records) != made.records_sha256:
        found[records.name] = f"{records.name} was changed"
    return found
