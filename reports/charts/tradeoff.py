"""Accuracy on what was held out against speedup, with both intervals and the Pareto front."""

from collections.abc import Iterator

from dgprune.schema import Json
from reports.charts.chart import Chart, choice, chosen, joined, rows, select
from reports.charts.placed import IN_EXPERIMENT, Experiments, Placed, experiment_list, speed_of
from reports.charts.theme import criterion_colours
from reports.recipe import budget_text

_COLUMNS = ("f", "batch", "first", "speed", "slow", "fast")
_OF_TABLE = ("e", "runtime", "precision")
_TEXTS = ("criterion", "ranking", "budget", "file")
_OF_FILE = ("t", "fewer", "acc", "low", "high", "src")
_MEASURED, _COUNTED = "measured speedup over dense", "reduction of MACs over dense"
_SHAPES = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "triangle-left")


def tradeoff(found: Experiments) -> Chart | None:
    """The chart that decides what is shipped; None where nothing was held out."""
    drawn = [placed for placed in found.rows if placed.row.held_out is not None]
    if not drawn:
        return None
    points = [point for placed in drawn for point in _points(placed)]
    timed = any(placed.row.speed for placed in drawn)
    axes = [_MEASURED, _COUNTED] if timed else [_COUNTED]
    return Chart(
        name="tradeoff",
        title="Accuracy against speedup",
        text="Every point is one file, its accuracy on images of what was held out and its speedup "
        "over dense on the same runtime; bars are 95 % intervals. The line joins the files that "
        "none beats: every other one is slower or less accurate. The dotted line is dense. Point "
        "at a file for its numbers.",
        spec=_spec(drawn, points, axes, found),
    )


def _points(placed: Placed) -> Iterator[tuple[object, ...]]:
    """A point a batch size; `first` marks one of them, for axes that know no batch."""
    speeds: list[tuple[object, ...]] = [
        (size, *speed_of(cell)) for size, cell in placed.row.speed.items()
    ]
    if placed.criterion == "dense":
        speeds = [(size, 1.0, 1.0, 1.0) for size in placed.table.batch_sizes]
    for number, (size, *speed) in enumerate(speeds or [(None, None, None, None)]):
        yield (placed.place, size, int(number == 0), *speed)


def _file(placed: Placed) -> tuple[object, ...]:
    """What every point of a file shares."""
    row, held_out = placed.row, placed.row.held_out
    assert held_out is not None
    dense = placed.dense
    fewer = dense.cost.macs_per_image / row.cost.macs_per_image if dense else None
    tail = (100 * held_out.accuracy, 100 * held_out.interval.low, 100 * held_out.interval.high)
    source = None if row.source_accuracy is None else 100 * row.source_accuracy
    budget = budget_text(*row.budget) or "dense"
    texts = (placed.criterion, placed.ranking, budget, placed.file)
    return (placed.place, *texts, placed.number, fewer, *tail, source)


def _tables(drawn: list[Placed]) -> list[tuple[object, ...]]:
    """What every file of a table shares."""
    found = {p.number: (p.number, p.experiment, p.runtime, p.precision) for p in drawn}
    return list(found.values())


def _spec(
    drawn: list[Placed], points: list[tuple[object, ...]], axes: list[str], found: Experiments
) -> Json:
    sizes = sorted({size for placed in drawn for size in placed.table.batch_sizes})
    everywhere = all(sizes[0] in p.table.batch_sizes for p in drawn if p.table.batch_sizes)
    options = [*sizes, None] if everywhere else [None, *sizes]
    labels = ["all" if size is None else str(size) for size in options]
    batch = [select("batch", "batch", options, labels)] if sizes else []
    return {
        "width": "container",
        "height": 380,
        "data": rows(_COLUMNS, points, _COLUMNS),
        "params": [
            experiment_list(found, drawn, next((p.experiment for p in drawn if p.row.speed), None)),
            *batch,
            choice("runtime", "runtime", (p.runtime for p in drawn)),
            choice("precision", "precision", (p.precision for p in drawn)),
            choice("criterion", "criterion", (p.criterion for p in _pruned(drawn))),
            choice("ranking", "ranking", (p.ranking for p in _pruned(drawn))),
            select("axis", "against", axes, axes),
        ],
        "transform": [
            *joined("f", (*_TEXTS, *_OF_FILE), map(_file, drawn), _OF_FILE),
            *joined("t", _OF_TABLE, _tables(drawn), ("e",)),
            *_transform(has_batch=bool(sizes), timed=_MEASURED in axes),
        ],
        "layer": _layers(drawn),
    }


def _pruned(drawn: list[Placed]) -> list[Placed]:
    return [placed for placed in drawn if placed.criterion != "dense"]


def _transform(*, has_batch: bool, timed: bool) -> list[Json]:
    """Rows that the lists name, dense always among them; x is what the list `axis` says."""
    is_measured = f"axis === '{_MEASURED}'" if timed else "false"
    of_batch = "(batch === null || datum.batch === batch)" if has_batch else "true"
    measured = f"({is_measured} && isValid(datum.speed) && {of_batch})"
    counted = f"(axis === '{_COUNTED}' && datum.first === 1 && isValid(datum.fewer))"
    dense = "datum.criterion === 'dense'"
    return [
        IN_EXPERIMENT,
        chosen("runtime", "runtime"),
        chosen("precision", "precision"),
        {"filter": f"{dense} || criterion === null || datum.criterion === criterion"},
        {"filter": f"{dense} || ranking === null || datum.ranking === ranking"},
        {"filter": f"{measured} || {counted}"},
        *(
            {"calculate": f"{is_measured} ? {a} : {b}", "as": name}
            for name, a, b in (
                ("x", "datum.speed", "datum.fewer"),
                ("x1", "datum.slow", "datum.fewer"),
                ("x2", "datum.fast", "datum.fewer"),
            )
        ),
    ]


def _layers(drawn: list[Placed]) -> list[Json]:
    x: Json = {
        "field": "x",
        "type": "quantitative",
        "scale": {"type": "log", "base": 2, "nice": False, "padding": 24},
        "axis": {"title": {"expr": "axis"}, "labelExpr": "datum.value + 'x'"},
    }
    y: Json = {
        "field": "acc",
        "type": "quantitative",
        "scale": {"zero": False, "padding": 12},
        "title": "accuracy on what was held out, %",
    }
    colour = {
        "field": "criterion",
        "scale": criterion_colours(placed.criterion for placed in drawn),
        "title": "criterion",
    }
    budgets = sorted({placed.row.budget for placed in _pruned(drawn)})
    names = ["dense", *dict.fromkeys(budget_text(*budget) for budget in budgets)]
    shape: Json = {"field": "budget", "scale": {"domain": names, "range": list(_SHAPES)}}
    if len(names) > len(_SHAPES):  # then a shape would stand for several budgets
        shape = {"value": "circle"}
    dense: Json = {"filter": "datum.criterion === 'dense'"}
    return [
        {
            "transform": [dense],
            "mark": {"type": "rule", "strokeDash": [2, 3], "opacity": 0.6},
            "encoding": {"y": y},
        },
        {"transform": _front(), "mark": _FRONT, "encoding": {"x": x, "y": y, "detail": _GROUPS}},
        {
            "mark": {"type": "rule", "opacity": 0.7},
            "encoding": {"x": x | {"field": "x1"}, "x2": {"field": "x2"}, "y": y, "color": colour},
        },
        {
            "mark": {"type": "rule", "opacity": 0.7},
            "encoding": {"x": x, "y": y | {"field": "low"}, "y2": {"field": "high"}}
            | {"color": colour},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
            "encoding": {"x": x, "y": y, "color": colour, "shape": shape, "tooltip": _tooltip()},
        },
    ]


_GROUPS = [{"field": "runtime"}, {"field": "precision"}, {"field": "batch"}]
_FRONT: Json = {
    "type": "line",
    "interpolate": "step-before",
    "color": "#8c8c8c",
    "strokeWidth": 1.5,
}


def _front() -> list[Json]:
    """Those that no other one beats: every other one is slower or less accurate."""
    groups = [group["field"] for group in _GROUPS]
    best: Json = {
        "window": [{"op": "max", "field": "acc", "as": "best"}],
        "sort": [{"field": "x", "order": "descending"}, {"field": "acc", "order": "descending"}],
        "frame": [None, 0],
        "groupby": groups,
    }
    fastest: Json = {
        "joinaggregate": [{"op": "max", "field": "x", "as": "fastest"}],
        "groupby": [*groups, "acc"],
    }
    return [
        *(best, {"filter": "datum.acc >= datum.best"}),
        *(fastest, {"filter": "datum.x === datum.fastest"}),
    ]


def _tooltip() -> list[Json]:
    texts = [{"field": name} for name in ("file", "budget", "ranking", "runtime", "precision")]
    numbers = (
        ("batch", "batch", ""),
        ("acc", "held out, %", ".1f"),
        ("low", "from", ".1f"),
        ("high", "to", ".1f"),
        ("src", "sources, %", ".1f"),
        ("speed", "speedup", ".2f"),
        ("slow", "from ", ".2f"),
        ("fast", "to ", ".2f"),
        ("fewer", "fewer MACs", ".2f"),
    )
    return texts + [
        {"field": field, "title": title, "type": "quantitative", "format": form}
        for field, title, form in numbers
    ]
