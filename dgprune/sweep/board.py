"""What a person sees of a sweep: a live table on a terminal, a line a cell without one."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from dgprune.progress import Bars, Progress
from dgprune.sweep.cells import Cell
from dgprune.sweep.estimate import Estimate, duration

STATES = ("done", "running", "waiting", "failed", "skipped")
_SHOWN = 12


@dataclass(kw_only=True)
class Board:
    """Where every cell stands; told by the driver, shown to a person."""

    progress: Progress
    estimate: Estimate
    slots: int
    total: int = 0
    counts: dict[str, Counter[str]] = field(
        default_factory=lambda: {kind: Counter() for kind in ("dense", "pruned")}
    )
    running: dict[str, tuple[Cell, float]] = field(default_factory=dict)
    _console: Any = None  # of the live table, while it is shown

    def add(self, cell: Cell, state: str) -> None:
        """Counts a cell that is there from the start."""
        self.total += 1
        self.counts[cell.kind][state] += 1
        if state == "waiting":
            self.estimate.add(cell)

    def move(self, cell: Cell, old: str, new: str, *, said: str = "") -> None:
        """Counts a cell as `new`, no longer `old`, and says so where it ended."""
        self.counts[cell.kind][old] -= 1
        self.counts[cell.kind][new] += 1
        if new == "running":
            self.running[cell.id] = (cell, time.monotonic())
        else:
            self.running.pop(cell.id, None)
        if new in ("done", "failed", "skipped"):
            self.estimate.add(cell, -1)
            self._say(cell, new, said)

    def _say(self, cell: Cell, state: str, said: str) -> None:
        if state == "done" and self._console is not None:
            return  # the table shows it
        ended = sum(self.of(state) for state in ("done", "failed", "skipped"))
        rest = f" ({self.estimate.text(self.slots)})" if state == "done" else ""
        self.line(f"[{ended}/{self.total}] {state}: {cell.name}, {said}{rest}")

    def of(self, state: str) -> int:
        """Cells in `state`, of either kind."""
        return sum(counts[state] for counts in self.counts.values())

    def line(self, text: str) -> None:
        """Says one thing, above the table where that is shown."""
        if self._console is None:
            self.progress.line(text)
        else:
            self._console.print(text, markup=False, soft_wrap=True)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Shows the table while the block runs, where there is a terminal."""
        if not isinstance(self.progress, Bars):
            yield
            return
        from rich.console import Console
        from rich.live import Live

        console = Console(stderr=True, highlight=False)
        how: Any = {"console": console, "refresh_per_second": 2, "transient": True}
        with Live(get_renderable=self.table, **how):
            self._console = console
            try:
                yield
            finally:
                self._console = None

    def table(self) -> Any:
        """Counts by state, the cells that run, and the time that is left."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        counts = Table(box=None, pad_edge=False)
        for column in ("", *STATES):
            counts.add_column(column, justify="right" if column else "left")
        for kind, states in self.counts.items():
            counts.add_row(kind, *(str(states[state]) for state in STATES))
        now = time.monotonic()
        shown = list(self.running.values())[:_SHOWN]
        lines = [f"  {cell.name} ({duration(now - since)})" for cell, since in shown]
        if len(self.running) > _SHOWN:
            lines.append(f"  and {len(self.running) - _SHOWN} more")
        return Group(counts, Text("\n".join([*lines, self.estimate.text(self.slots)])))
