"""The history: latency over commits, a panel a runtime and a line an arm."""

from collections.abc import Iterator

from dgprune.schema import Json
from reports.charts.chart import Chart, rows, select
from reports.charts.theme import SERIES
from reports.history import History

_COLUMNS = ("runtime", "arm", "run", "place", "low", "ms", "high", "change", "date")
_NUMBERS = ("place", "low", "ms", "high", "change")
# An axis that fits the data alone would blow noise up to the size of a regression.
_LEAST_REACH = 0.10


def over_commits(history: History, number: int) -> Chart:
    """The chart of one machine's stored runs; the axis spans at least 10 % around the middle."""
    lists = [
        select("runtime", "runtime", history.runtimes, history.runtimes),
        select("arm", "file", history.arms, history.arms),
    ]
    shown: Json = {"filter": "datum.runtime === runtime && datum.arm === arm"}
    return Chart(
        name=f"history-{number}",
        title=f"Latency over commits, machine {number}",
        text="Medians of each file timed alone; bars reach from the first quartile to the third.",
        spec={
            "width": "container",
            "height": 260,
            "data": _data(history),
            "params": lists,
            "transform": [shown, *_limits([])],
            "layer": _layers(history),
        },
    )


def panels(history: History, number: int) -> Chart:
    """The same without lists, for paper: a column a runtime and a row a file."""
    cell: Json = {"width": 260, "height": 120, "layer": _layers(history)}
    cell["transform"] = _limits(["runtime", "arm"])
    facet = {"row": {"field": "arm", "title": None}, "column": {"field": "runtime", "title": None}}
    drawn = over_commits(history, number)
    return Chart(
        name=drawn.name,
        title=drawn.title,
        text=drawn.text,
        spec={
            "data": _data(history),
            "facet": facet,
            "spec": cell,
            "resolve": {"scale": {"y": "independent"}},
        },
    )


def _data(history: History) -> Json:
    lines = [line for arm in history.arms for line in _lines(history, arm)]
    return rows(_COLUMNS, lines, _NUMBERS)


def _lines(history: History, arm: str) -> Iterator[tuple[object, ...]]:
    for runtime in history.runtimes:
        for point in history.line(runtime, arm):
            change = history.change(point)
            yield (
                *(runtime, arm, point.run, history.runs.index(point.run)),
                *(1e3 * value for value in (point.q1_s, point.median_s, point.q3_s)),
                None if change is None else 100 * change,
                point.committed_at[:10],
            )


def _limits(groups: list[str]) -> list[Json]:
    """The least and the most of the bars of a panel."""
    ends = (("min", "low", "bottom"), ("max", "high", "top"))
    return [
        {"joinaggregate": [{"op": op, "field": field, "as": name}], "groupby": groups}
        for op, field, name in ends
    ]


def _layers(history: History) -> list[Json]:
    x = {
        "field": "run",
        "type": "ordinal",
        "sort": {"field": "place", "op": "min"},
        "axis": {"title": None, "labelAngle": -45, "labelOverlap": "greedy"},
    }
    y = {
        "field": "ms",
        "type": "quantitative",
        "title": "milliseconds a call",
        "scale": {"zero": False},
    }
    colour = {
        "field": "arm",
        "legend": None,
        "scale": {"domain": list(history.arms), "range": list(SERIES)},
    }
    bars = {"y": y | {"field": "low"}, "y2": {"field": "high"}}
    point = {"type": "point", "filled": True, "size": 50, "opacity": 1}
    return [
        _reach(),
        {"mark": "line", "encoding": {"x": x, "y": y, "color": colour}},
        {"mark": "rule", "encoding": {"x": x, **bars, "color": colour}},
        {"mark": point, "encoding": {"x": x, "y": y, "color": colour, "tooltip": _TOOLTIP}},
    ]


_TOOLTIP: list[Json] = [
    {"field": "run", "title": "commit"},
    {"field": "date"},
    {"field": "arm"},
    {"field": "ms", "title": "median, ms", "type": "quantitative", "format": ".3f"},
    {"field": "change", "title": "change, %", "type": "quantitative", "format": "+.1f"},
]


def _reach() -> Json:
    """An invisible bar that holds the axis open."""
    ends = ((1 - _LEAST_REACH, "least"), (1 + _LEAST_REACH, "most"))
    middle = "(datum.bottom + datum.top) / 2"
    return {
        "transform": [{"calculate": f"{middle} * {share}", "as": name} for share, name in ends],
        "mark": {"type": "rule", "opacity": 0},
        "encoding": {
            "y": {"field": "least", "type": "quantitative", "scale": {"zero": False}},
            "y2": {"field": "most"},
        },
    }
