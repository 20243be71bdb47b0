"""The driver: gives cells to a pool as their parents are done, and writes the journal."""

from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from dgprune.sweep.board import Board
from dgprune.sweep.cells import Cell
from dgprune.sweep.estimate import duration
from dgprune.sweep.journal import Ended, Journal
from dgprune.sweep.made import Made
from dgprune.sweep.pool import Pool
from dgprune.sweep.work import Outcome, Task

_LOOK_S = 1.0  # so that Ctrl-C is heard and a growing cluster is seen


@dataclass(kw_only=True)
class Driver:
    """A sweep under way: what is made, what failed, what may start."""

    cells: Sequence[Cell]
    pool: Pool
    journal: Journal
    board: Board
    retries: int
    made: dict[str, Made]
    failed: dict[str, str] = field(default_factory=dict)
    skipped: list[Cell] = field(default_factory=list)
    _ready: deque[Cell] = field(default_factory=deque)
    _waiting: dict[str, list[Cell]] = field(default_factory=lambda: defaultdict(list))
    _running: dict[str, Cell] = field(default_factory=dict)
    _tries: Counter[str] = field(default_factory=Counter)

    def run(self) -> None:
        """Runs every cell that is not in `made`; a failed one stops its children only."""
        for cell in self.cells:
            if cell.id in self.made:
                continue
            if cell.parent is None or cell.parent in self.made:
                self._ready.append(cell)
            else:
                self._waiting[cell.parent].append(cell)
        while self._ready or self._running:
            self.board.slots = self.pool.slots
            while self._ready and len(self._running) < self.pool.capacity:
                self._start(self._ready.popleft())
            for outcome in self.pool.wait(_LOOK_S):
                self._settle(self._running.pop(outcome.cell), outcome)

    def _start(self, cell: Cell) -> None:
        dense = self.made[cell.parent].checkpoint if cell.parent else None
        self.pool.submit(Task(cell=cell, dense=dense))
        self._running[cell.id] = cell
        self._tries[cell.id] += 1
        self.board.move(cell, "waiting", "running")

    def _settle(self, cell: Cell, outcome: Outcome) -> None:
        if outcome.made is None and outcome.again and self._tries[cell.id] <= self.retries:
            self.board.line(f"again: {cell.name}: {outcome.error}")
            self.board.move(cell, "running", "waiting")
            self._ready.append(cell)
            return
        ended = _ended(cell, outcome)
        self.journal.write(ended)
        children = self._waiting.pop(cell.id, [])
        if outcome.made is not None:
            self.made[cell.id] = outcome.made
            self.board.estimate.measured([ended])
            self.board.move(cell, "running", "done", said=duration(outcome.seconds))
            self._ready.extend(children)
            return
        self.failed[cell.id] = outcome.error
        self.board.move(cell, "running", "failed", said=outcome.error)
        for child in children:
            self.skipped.append(child)
            self.board.move(child, "waiting", "skipped", said="its dense model failed")


def _ended(cell: Cell, outcome: Outcome) -> Ended:
    return Ended(
        cell=cell.id,
        kind=cell.kind,
        model=cell.model,
        name=cell.name,
        state="failed" if outcome.made is None else "done",
        seconds=round(outcome.seconds, 3),
        whole=outcome.whole,
        where=outcome.where,
        made=outcome.made,
        error=outcome.error,
        training=cell.training,
    )
