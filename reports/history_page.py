"""A machine's history, ready to print: the chart, and the table beside it."""

from collections.abc import Sequence
from dataclasses import dataclass

from reports.charts.chart import Chart
from reports.charts.over_commits import over_commits
from reports.history import History, Point, first_difference, machine_text
from reports.summary import DASH


@dataclass(frozen=True, kw_only=True)
class HistoryPage:
    """One machine: its chart, the name of its picture, and a row a commit."""

    history: History
    title: str
    picture: str
    chart: Chart
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def history_pages(histories: Sequence[History]) -> list[HistoryPage]:
    """A page a machine; each later one says what makes it another machine than the first."""
    return [
        HistoryPage(
            history=history,
            title=_title(history, histories[0]),
            picture=f"history-{number}.png",
            chart=over_commits(history, number),
            header=("commit", "date", *(f"{arm}, {runtime}" for runtime, arm in _lines(history))),
            rows=tuple(_row(history, run) for run in history.runs),
        )
        for number, history in enumerate(histories, 1)
    ]


def _title(history: History, first: History) -> str:
    differs = first_difference(history.machine, first.machine)
    apart = f" Apart, for another machine: it differs in {differs}." if differs else ""
    return f"Measured on: {machine_text(history.machine)}.{apart}"


def _lines(history: History) -> list[tuple[str, str]]:
    return [(runtime, arm) for runtime in history.runtimes for arm in history.arms]


def _row(history: History, run: str) -> tuple[str, ...]:
    points = [point for point in history.points if point.run == run]
    latest = {(point.runtime, point.arm): point for point in points}
    cells = (_cell(history, latest.get(line)) for line in _lines(history))
    return (run, points[0].committed_at[:10], *cells)


def _cell(history: History, point: Point | None) -> str:
    if point is None:
        return DASH
    return f"{latency_text(point)} {change_text(history.change(point))}".rstrip()


def latency_text(point: Point) -> str:
    """The median, in milliseconds."""
    return f"{1e3 * point.median_s:.3f} ms"


def change_text(change: float | None) -> str:
    """A change since the run before; nothing for the first."""
    return "" if change is None else f"({100 * change:+.1f} %)"
