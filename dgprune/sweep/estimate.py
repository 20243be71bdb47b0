"""How long the rest of a sweep takes, from the cells that were already measured."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from dgprune.sweep.cells import Cell, Kind
from dgprune.sweep.journal import Ended

Like = tuple[Kind, str, str]  # cells of one kind, model and training take about as long


@dataclass(kw_only=True)
class Estimate:
    """Counts what is left by kind, model and training, and what a cell of each took."""

    left: Counter[Like] = field(default_factory=Counter)
    _seconds: dict[Like, list[float]] = field(default_factory=lambda: defaultdict(lambda: [0.0, 0]))

    def measured(self, ended: Iterable[Ended]) -> None:
        """Takes in cells that ended; those that went on from half-done work say nothing."""
        for entry in ended:
            if entry.state == "done" and entry.whole:
                like = self._seconds[entry.kind, entry.model, entry.training]
                like[0] += entry.seconds
                like[1] += 1

    def add(self, cell: Cell, count: int = 1) -> None:
        """Counts a cell as left, or with -1 as no longer left."""
        self.left[cell.kind, cell.model, cell.training] += count

    def remaining(self, slots: int) -> tuple[float, int]:
        """Seconds that the cells left take on `slots` at a time; cells of no measured kind.

        No cell is shared by slots, so that it is never less than the longest takes.
        """
        seconds, longest, unknown = 0.0, 0.0, 0
        for like, count in self.left.items():
            total, measured = self._seconds.get(like, (0.0, 0))
            if measured and count:
                seconds += count * total / measured
                longest = max(longest, total / measured)
            elif count:
                unknown += count
        return max(seconds / slots, longest), unknown

    def text(self, slots: int) -> str:
        """What is left, for a person."""
        seconds, unknown = self.remaining(slots)
        total = sum(self.left.values())
        if total == 0:
            return "nothing left"
        if unknown == total:
            return "time left unknown: no such cell was measured yet"
        more = f", and {unknown} cells of a kind not measured yet" if unknown else ""
        return f"about {duration(seconds)} left{more}"


def duration(seconds: float) -> str:
    """Seconds for a person: `40 s`, `12 min`, `3 h 5 min`, `2 d 4 h`."""
    if seconds < 99:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"
