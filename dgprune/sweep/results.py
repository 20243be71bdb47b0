"""What a sweep ends with: the records of its cells in the plan's order, latency, the report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dgprune.chain import Invoke, bench_options
from dgprune.errors import DgpruneError
from dgprune.missing import missing_line
from dgprune.progress import Progress
from dgprune.store import write_bytes
from dgprune.sweep.absent import missing_of
from dgprune.sweep.asked_latency import Asked
from dgprune.sweep.cells import Cell
from dgprune.sweep.made import Made
from dgprune.sweep.plan import Plan
from dgprune.sweep.work import Place

RECORDS = "records.jsonl"


@dataclass(kw_only=True)
class Results:
    """Makes the results of the cells that are done; `failures` says which latency is missing.

    `errors` says by cell why one that is not in `made` failed.
    """

    plan: Plan
    place: Place
    cells: Sequence[Cell]
    made: Mapping[str, Made]
    errors: Mapping[str, str]
    invoke: Invoke
    progress: Progress
    fresh: bool = False
    failures: list[str] = field(default_factory=list)

    def measure_latency(self) -> None:
        """Times every file against its dense one, one at a time: nothing may run beside."""
        if self.plan.bench is None:
            return
        there = [cell for cell in self.cells if cell.id in self.made]
        (Path(self.place.store) / "latency").mkdir(exist_ok=True)
        for number, cell in enumerate(there, 1):
            self.progress.line(f"[{number}/{len(there)}] latency: {cell.name}")
            try:
                self._time(cell)
            except DgpruneError as error:
                self.failures.append(f"latency of {cell.name}: {error}")

    def _time(self, cell: Cell) -> None:
        assert self.plan.bench is not None
        store = Path(self.place.store)
        artefact = store / self.made[cell.id].artefact
        baseline = store / self.made[cell.parent or cell.id].artefact  # dense: the A/A control
        skip = ["--skip-bad-images"] if self.place.skip_bad_images else []
        where = ("--data", self.place.data, "--seed", str(cell.seed), *skip)
        into = ("--records", str(self._latency_of(cell)))
        arms = (str(artefact), "--baseline", str(baseline))
        done = self.invoke(("bench", *arms, *where, *into, *bench_options(self.plan.bench)))
        self.fresh |= done.fresh

    def _latency_of(self, cell: Cell) -> Path:
        """One file a dense model: its control is measured once."""
        return Path(self.place.store) / "latency" / f"{cell.parent or cell.id}.jsonl"

    def write_records(self) -> Path:
        """The file of all records; the same every time.

        Cells in the plan's order, those that are missing, then latency.
        """
        path = Path(self.place.store) / RECORDS
        there = [cell for cell in self.cells if cell.id in self.made]
        timed = [self._latency_of(cell) for cell in there if cell.parent is None]
        latency = Asked.by(self.plan, {self.made[cell.id].artefact for cell in there})
        absent = missing_of(self.plan, self.place, self.cells, self.made, self.errors)
        data = b"".join(
            [
                *(self.place.records_of(cell.id).read_bytes() for cell in there),
                *(f"{missing_line(missing)}\n".encode() for missing in absent),
                *(f"{line}\n".encode() for file in timed for line in latency.lines(file)),
            ]
        )
        if not path.exists() or path.read_bytes() != data:
            write_bytes(path, data)
        return path

    def report(self) -> Path:
        """The page of the report."""
        records = self.write_records()
        done = self.invoke(("report", str(records), "--out", str(records.parent / "report")))
        self.fresh |= done.fresh
        return done.path
