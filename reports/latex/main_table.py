"""The main table of an experiment, for a paper: budget, cost, accuracy and speedup of a file."""

from dgprune.statistics import Interval
from reports.rows import Row, Table
from reports.section import Section
from reports.summary import DASH, percent
from reports.times import judged


def main_section(table: Table) -> Section:
    """A row a file, as the page has them."""
    sizes = table.batch_sizes
    return Section(
        title=table.title,
        text="Brackets hold 95 % intervals (accuracy: Wilson over images; speedup: Student's t "
        "over rounds, over the means of processes where there are several).",
        header=(
            *("file", "budget", "MACs, M", "params, k"),
            f"{table.setting.column}, %",
            f"{table.setting.sources}, %",
            *(f"speedup, batch {size}" for size in sizes),
        ),
        rows=tuple(_cells(row, table) for row in table.rows),
    )


def _cells(row: Row, table: Table) -> tuple[str, ...]:
    return (
        table.names[row.subject.sha256],
        row.budget_text or DASH,
        f"{row.cost.macs_per_image / 1e6:.1f}",
        f"{row.cost.parameters / 1e3:.0f}",
        _shares(row.held_out.interval) if row.held_out else DASH,
        percent(row.source_accuracy).removesuffix(" %"),
        *(_speedup(row, size) for size in table.batch_sizes),
    )


def _shares(interval: Interval) -> str:
    low, middle, high = (
        f"{100 * share:.1f}" for share in (interval.low, interval.estimate, interval.high)
    )
    return f"{middle} [{low}, {high}]"


def _speedup(row: Row, size: int) -> str:
    if size not in row.speed:
        return "1" if row.criterion == "dense" else DASH
    return judged(row.speed[size])
