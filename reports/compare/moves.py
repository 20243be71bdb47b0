"""The chart of a comparison: every file's move in accuracy and speedup, first to second set."""

from collections.abc import Iterator, Sequence

from dgprune.schema import Json
from reports.charts.chart import Chart, rows, select
from reports.charts.theme import BASELINE, CANDIDATE
from reports.compare.matched import Matched
from reports.compare.sections import name_of

_COLUMNS = ("set", "e", "file", "batch", "speed", "acc")
_SETS = ("first", "second")


def moves(matched: Sequence[Matched]) -> Chart | None:
    """A pair of points a file and batch size; None where nothing was timed in both sets."""
    titles = list(dict.fromkeys(m.second.table.title for m in matched))
    points = [point for m in matched for point in _points(m, titles.index(m.second.table.title))]
    if not points:
        return None
    drawn = sorted({int(str(point[1])) for point in points})
    return Chart(
        name="moves",
        title="From the first set to the second",
        text="Each line leads from a file in the first set to the same file in the second.",
        spec=_spec(points, [titles[number] for number in drawn], drawn),
    )


def _points(m: Matched, experiment: int) -> Iterator[tuple[object, ...]]:
    for size in m.batch_sizes:
        sides = [(name, side.row) for name, side in zip(_SETS, (m.first, m.second), strict=True)]
        if all(size in row.speed and row.held_out for _, row in sides):
            for name, row in sides:
                assert row.held_out is not None
                speed, accuracy = row.speed[size].interval.estimate, 100 * row.held_out.accuracy
                yield (name, experiment, name_of(m), size, speed, accuracy)


def _spec(points: list[tuple[object, ...]], titles: list[str], drawn: list[int]) -> Json:
    sizes = sorted({int(str(point[3])) for point in points})
    return {
        "width": "container",
        "height": 380,
        "data": rows(_COLUMNS, points, ("e", "batch", "speed", "acc")),
        "params": [
            select("experiment", "experiment", drawn, titles),
            select("batch", "batch", sizes, [str(size) for size in sizes]),
        ],
        "transform": [{"filter": "datum.e === experiment && datum.batch === batch"}],
        "layer": _layers(),
    }


def _layers() -> list[Json]:
    x = {
        "field": "speed",
        "type": "quantitative",
        "scale": {"type": "log", "base": 2, "nice": False, "padding": 24},
        "axis": {"title": "speedup over dense", "labelExpr": "datum.value + 'x'"},
    }
    y = {
        "field": "acc",
        "type": "quantitative",
        "scale": {"zero": False, "padding": 12},
        "title": "accuracy on what was held out, %",
    }
    colour = {
        "field": "set",
        "title": None,
        "scale": {"domain": list(_SETS), "range": [BASELINE, CANDIDATE]},
    }
    return [
        {
            "mark": {"type": "line", "color": BASELINE, "strokeWidth": 1},
            "encoding": {
                "x": x,
                "y": y,
                "detail": {"field": "file"},
                "order": {"field": "set"},
            },
        },
        {
            "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
            "encoding": {
                "x": x,
                "y": y,
                "color": colour,
                "shape": {
                    "field": "set",
                    "title": None,
                    "scale": {"domain": list(_SETS), "range": ["circle", "diamond"]},
                },
                "tooltip": _tooltip(),
            },
        },
    ]


def _tooltip() -> list[Json]:
    return [
        {"field": "file"},
        {"field": "set"},
        {"field": "batch", "type": "quantitative"},
        {"field": "speed", "title": "speedup", "type": "quantitative", "format": ".2f"},
        {"field": "acc", "title": "held out, %", "type": "quantitative", "format": ".1f"},
    ]
