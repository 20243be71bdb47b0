"""Two views of one experiment side by side: at equal ratio, and at equal speed.

A ratio is no budget: at one ratio two criteria leave files of very unlike cost. At equal speed each
criterion shows the file that its user would ship: of those fast enough, the one with the best
validation, never the one with the best accuracy on what was held out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reports.recipe import budget_text
from reports.rows import Row, Table
from reports.section import Section
from reports.setting import seed_of
from reports.summary import DASH, percent

_SPEEDS = (1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0)
_MOST_COLUMNS = 5


@dataclass(frozen=True, kw_only=True)
class BudgetViews:
    """Both sections of one table."""

    by_ratio: Section
    by_speed: Section


def budget_views(table: Table) -> BudgetViews | None:
    """The two views; None where fewer than two ways of pruning can be set side by side."""
    rows = [r for r in table.rows if r.criterion != "dense" and r.held_out and gain(r, table)]
    ways = sorted({row.criterion for row in rows})
    if len(ways) < 2 or table.dense is None:
        return None
    return BudgetViews(by_ratio=_by_ratio(table, rows, ways), by_speed=_by_speed(table, rows, ways))


def gain(row: Row, table: Table) -> float | None:
    """Speedup of a row at the smallest batch size; of MACs where no latency was measured."""
    if table.batch_sizes:
        cell = row.speed.get(table.batch_sizes[0])
        return cell.interval.estimate if cell else None
    dense = table.dense
    return dense.cost.macs_per_image / row.cost.macs_per_image if dense else None


def measure(table: Table) -> str:
    """What that gain is of."""
    if table.batch_sizes:
        return f"measured speedup at batch {table.batch_sizes[0]}"
    return "reduction of MACs (no latency was measured)"


def _by_ratio(table: Table, rows: Sequence[Row], ways: Sequence[str]) -> Section:
    budgets = sorted({row.budget for row in rows})
    return Section(
        title="At equal budget asked for",
        text=f"Accuracy on {table.setting.phrase} and the {measure(table)}, by what pruning was "
        f"asked for{_over_seeds(rows)}.",
        header=("criterion", *(budget_text(*budget) for budget in budgets)),
        rows=_cells(table, rows, ways, [_has_budget(budget) for budget in budgets]),
    )


def _has_budget(budget: tuple[str, float]) -> Callable[[Sequence[Row]], Row | None]:
    return lambda rows: next((row for row in rows if row.budget == budget), None)


def _by_speed(table: Table, rows: Sequence[Row], ways: Sequence[str]) -> Section:
    reached = [found for row in rows if (found := gain(row, table)) is not None]
    speeds = speeds_within(reached, _MOST_COLUMNS)
    return Section(
        title="At equal speed",
        text=f"Accuracy on {table.setting.phrase} of the file that has the best "
        f"{table.setting.validation} among those that reach a {measure(table)}"
        f"{_over_seeds(rows)}. A dash: no file is that fast.",
        header=("criterion", *(f"at least {speed:.3g}x" for speed in speeds)),
        rows=_cells(table, rows, ways, [fast_enough(table, speed) for speed in speeds]),
    )


def speeds_within(reached: Sequence[float], most: int) -> list[float]:
    """At most `most` round speedups between the least and the largest that was reached."""
    speeds = [speed for speed in _SPEEDS if min(reached) <= speed <= max(reached)]
    return speeds[:: -(-len(speeds) // most)] if speeds else [min(reached)]


def fast_enough(table: Table, speed: float) -> Callable[[Sequence[Row]], Row | None]:
    """The choice of a user who needs that speedup: the best validation of those that reach it.

    None where there is something to choose and not all were validated.
    """

    def best(rows: Sequence[Row]) -> Row | None:
        fast = [row for row in rows if (gain(row, table) or 0.0) >= speed]
        validated = [row for row in fast if row.source_accuracy is not None]
        if len(fast) > 1 and len(validated) < len(fast):
            return None
        return max(fast, key=lambda row: row.source_accuracy or 0.0, default=None)

    return best


def _over_seeds(rows: Sequence[Row]) -> str:
    seeds = len({seed_of(row.subject) for row in rows})
    return f", means of {seeds} seeds" if seeds > 1 else ""


def _cells(
    table: Table,
    rows: Sequence[Row],
    ways: Sequence[str],
    columns: Sequence[Callable[[Sequence[Row]], Row | None]],
) -> tuple[tuple[str, ...], ...]:
    """A row a way of pruning; a cell is empty where a seed has no file for it."""
    seeds = sorted({seed_of(row.subject) for row in rows})
    found = []
    for way in ways:
        by_seed = [
            [r for r in rows if r.criterion == way and seed_of(r.subject) == s] for s in seeds
        ]
        chosen = ([pick(of_seed) for of_seed in by_seed] for pick in columns)
        found.append((way, *(_cell(picked, table) for picked in chosen)))
    return tuple(found)


def _cell(picked: Sequence[Row | None], table: Table) -> str:
    shares = [row.held_out.accuracy for row in picked if row and row.held_out]
    gains = [found for row in picked if row and (found := gain(row, table)) is not None]
    if len(shares) < len(picked) or len(gains) < len(picked):
        return DASH
    return f"{percent(sum(shares) / len(shares))} at {sum(gains) / len(gains):.2f}x"
