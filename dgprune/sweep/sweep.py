"""The stage `sweep`: the cells of a plan that are not there yet, their records and the report."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields
from pathlib import Path

from dgprune.chain import Invoke
from dgprune.errors import DgpruneError, require_between
from dgprune.progress import SILENT, Progress
from dgprune.schema import Json
from dgprune.stage import Done
from dgprune.store import open_store, require_ours, write_text
from dgprune.sweep.board import Board
from dgprune.sweep.cells import Cell, cells_of
from dgprune.sweep.driver import Driver
from dgprune.sweep.estimate import Estimate
from dgprune.sweep.journal import JOURNAL, Journal, only_sweep
from dgprune.sweep.local import LocalPool
from dgprune.sweep.plan import PlanFile, open_plan
from dgprune.sweep.pool import Pool
from dgprune.sweep.results import Results
from dgprune.sweep.standing import Standing, remove_damaged, standing_of
from dgprune.sweep.work import Place

_SHOWN_FAILURES = 20
_PLAN = "plan.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSpec:
    """Which plan, into which folder, on how many local processes or on which Ray.

    `ray` is "auto", HOST:PORT or None; a cell gets `cpus_per_cell` threads and there
    `gpus_per_cell` of a GPU. A cell whose worker died is tried `retries` times more.
    """

    plan: Path
    out: Path
    jobs: int = 1
    ray: str | None = None
    cpus_per_cell: int = 1
    gpus_per_cell: float = 0.0
    retries: int = 2
    resume: bool = False
    skip_bad_images: bool = False

    def __post_init__(self) -> None:
        require_between("--jobs", self.jobs, 1, 4096)
        require_between("--cpus-per-cell", self.cpus_per_cell, 1, 4096)
        require_between("--gpus-per-cell", self.gpus_per_cell, 0, 1024)
        require_between("--retries", self.retries, 0, 1000)
        if self.gpus_per_cell > 1 and self.gpus_per_cell % 1:
            raise DgpruneError(f"--gpus-per-cell {self.gpus_per_cell} must be a part of 1 or whole")


def sweep(
    spec: SweepSpec, invoke: Invoke, progress: Progress = SILENT, read: PlanFile | None = None
) -> Done:
    """The path of the report; exit code 1 where a cell failed. Run again, it goes on.

    `invoke` runs one command in a worker, so it must be importable there; `read` is the plan where
    it was read already. Raises DgpruneError, before any work is done, where another sweep runs in
    the folder.
    """
    read = read or open_plan(spec.plan)
    plan = read.plan
    cells = cells_of(plan, skip_bad_images=spec.skip_bad_images)
    _require_something_to_resume(spec)
    if spec.ray is not None:
        from dgprune.sweep.ray_pool import require_ray

        require_ray(spec.ray)
    store = open_store(spec.out.absolute())
    with only_sweep(store):
        open_store(store / "cells")  # and what killed workers left in it goes
        write_text(store / _PLAN, read.text)
        standing = standing_of(plan, spec.out, cells, skip_bad_images=spec.skip_bad_images)
        remove_damaged(standing, progress)
        results = Results(
            plan=plan,
            place=standing.place,
            cells=cells,
            made=standing.made,
            errors=standing.errors,
            invoke=invoke,
            progress=progress,
        )
        try:
            driver = _run(spec, standing, invoke, progress)
            results.fresh = driver is not None
            results.write_records()  # latency takes long, and a kill is not heard
            results.measure_latency()
        except BaseException:
            results.write_records()  # of what is done, and that the rest is missing
            raise
        path = results.report()
    return _done(cells, driver, results, path)


def plan_only(spec: SweepSpec, progress: Progress = SILENT, read: PlanFile | None = None) -> Done:
    """What `sweep` would do: cells by kind and state, time left; nothing is written."""
    require_ours(spec.out)
    plan = (read or open_plan(spec.plan)).plan
    cells = cells_of(plan, skip_bad_images=spec.skip_bad_images)
    _require_something_to_resume(spec)
    standing = standing_of(plan, spec.out, cells, skip_bad_images=spec.skip_bad_images)
    board = _board(standing, progress, spec.jobs)
    for kind, counts in board.counts.items():
        progress.line(f"{kind}: {counts.total()} cells, {counts['done']} done")
    seconds, unknown = board.estimate.remaining(spec.jobs)
    where = "one Ray slot" if spec.ray else f"--jobs {spec.jobs}"
    progress.line(f"{board.estimate.text(spec.jobs)} (cells alone, {where})")
    summary: Json = {
        "cells": {kind: counts.total() for kind, counts in board.counts.items()},
        "done": board.of("done"),
        "estimated_s": None if unknown else seconds,
        "unmeasured_cells": unknown,
    }
    return Done(path=spec.out, fresh=False, summary=summary)


def _require_something_to_resume(spec: SweepSpec) -> None:
    if spec.resume and not (spec.out / JOURNAL).is_file():
        raise DgpruneError(
            f"--resume: {spec.out} holds no sweep; name the folder of one, or remove --resume"
        )


def _board(standing: Standing, progress: Progress, slots: int) -> Board:
    estimate = Estimate()
    estimate.measured(standing.journal)
    board = Board(progress=progress, estimate=estimate, slots=slots)
    for cell in standing.cells:
        board.add(cell, "done" if cell.id in standing.made else "waiting")
    return board


def _run(spec: SweepSpec, standing: Standing, invoke: Invoke, progress: Progress) -> Driver | None:
    """The driver at its end, or None where nothing was left to do."""
    board = _board(standing, progress, spec.jobs)
    if board.of("waiting") == 0:
        progress.line(f"nothing to do: all {board.total} cells were already done")
        return None
    journal = Path(standing.place.store) / JOURNAL
    with _pool(spec, standing.place, invoke) as pool, Journal(journal) as lines:
        board.slots = pool.slots
        told = f"{board.total} cells, {board.of('done')} already done"
        progress.line(f"{told}, {pool.slots} at a time; {board.estimate.text(pool.slots)}")
        driver = Driver(
            cells=standing.cells,
            pool=pool,
            journal=lines,
            board=board,
            retries=spec.retries,
            made=standing.made,
            failed=standing.failed,
        )
        with board.shown():
            driver.run()
    return driver


@contextmanager
def _pool(spec: SweepSpec, place: Place, invoke: Invoke) -> Iterator[Pool]:
    """The workers; they end with the block, however it ends."""
    pool: Pool
    if spec.ray is None:
        pool = LocalPool(place, invoke, jobs=spec.jobs, cpus=spec.cpus_per_cell)
    else:
        from dgprune.sweep.ray_pool import RayPool

        cpus, gpus = spec.cpus_per_cell, spec.gpus_per_cell
        pool = RayPool(spec.ray, place, invoke, cpus=cpus, gpus=gpus)
    try:
        yield pool
    finally:
        pool.stop()


def _done(cells: Sequence[Cell], driver: Driver | None, results: Results, path: Path) -> Done:
    failed = driver.failed if driver else {}
    names = {cell.id: cell.name for cell in cells}
    failures = [f"{names[cell]}: {error}" for cell, error in failed.items()] + results.failures
    skipped = len(driver.skipped) if driver else 0
    summary: Json = {
        "cells": len(cells),
        "done": len(cells) - len(failed) - skipped,
        "failed": failures,
        "skipped": skipped,
    }
    return Done(path=path, fresh=results.fresh, summary=summary, exit_code=1 if failures else 0)


def failure_lines(spec: SweepSpec, summary: Json) -> list[str]:
    """What failed, and the command that tries it again; nothing where nothing did."""
    failures, skipped = summary["failed"], summary["skipped"]
    if not failures:
        return []
    lines = [f"failed: {failure}" for failure in failures[:_SHOWN_FAILURES]]
    if len(failures) > _SHOWN_FAILURES:
        lines.append(f"and {len(failures) - _SHOWN_FAILURES} more; see {spec.out / JOURNAL}")
    rest = f", {skipped} skipped that start from one of them" if skipped else ""
    return [*lines, f"{len(failures)} failed{rest}; to try them again: {_again(spec)}"]


def _again(spec: SweepSpec) -> str:
    """The command that goes on, with every option that is not at its default."""
    plan = spec.plan if spec.plan.is_file() else spec.out / _PLAN  # of a pipe nothing is left
    words = ["dgprune", "sweep", str(plan), "--out", str(spec.out)]
    for field in fields(spec):
        value = getattr(spec, field.name)
        if field.default is not MISSING and value != field.default and field.name != "resume":
            name = f"--{field.name.replace('_', '-')}"
            words += [name] if value is True else [name, str(value)]
    return shlex.join([*words, "--resume"])
