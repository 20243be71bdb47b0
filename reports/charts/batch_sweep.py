"""Speedup and throughput over the batch size, a line a file."""

from collections.abc import Iterator

from dgprune.schema import Json
from reports.charts.chart import Chart, choice, rows, select
from reports.charts.placed import IN_TABLE, Experiments, Placed, table_list
from reports.charts.theme import criterion_colours
from reports.rows import budget_text

_COLUMNS = ("t", "criterion", "budget", "file", "batch")
_VALUES = ("speedup", "slow", "fast", "images", "call")
_SPEEDUP, _IMAGES, _CALL = "speedup over dense", "images per second", "milliseconds per image"
_DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])


def batch_sweep(found: Experiments) -> Chart | None:
    """The curves; None where every file was timed at one batch size only."""
    drawn = [placed for placed in found.rows if len(placed.row.speed) > 1]
    if not drawn:
        return None
    points = [point for placed in drawn for point in _points(placed)]
    points += [point for placed in _dense_of(drawn) for point in _dense_points(placed)]
    return Chart(
        name="batch-sweep",
        title="Batch size",
        text="The same files over the batch size. Bars of speedups are 95 % intervals; rates are "
        "of the median call, dense as it ran beside the first file of its table.",
        spec=_spec(drawn, points),
    )


def _points(placed: Placed) -> Iterator[tuple[object, ...]]:
    budget = budget_text(*placed.row.budget)
    texts = (placed.number, placed.criterion, budget, placed.file)
    for size, cell in placed.row.speed.items():
        i = cell.interval
        yield (*texts, size, i.estimate, i.low, i.high, *_rates(size, cell.latency_s))


def _rates(size: int, latency_s: float) -> tuple[float, float]:
    return size / latency_s, 1e3 * latency_s / size


def _dense_of(drawn: list[Placed]) -> list[Placed]:
    """The first row of each table, to draw the dense file beside it."""
    return list({p.number: p for p in reversed(drawn)}.values())


def _dense_points(placed: Placed) -> Iterator[tuple[object, ...]]:
    for size, cell in placed.row.speed.items():
        assert cell.record.baseline is not None
        name = cell.record.baseline.label
        texts = (placed.number, "dense", "dense", name, size)
        yield (*texts, 1.0, 1.0, 1.0, *_rates(size, cell.baseline_latency_s))


def _spec(drawn: list[Placed], points: list[tuple[object, ...]]) -> Json:
    sizes = sorted({size for placed in drawn for size in placed.row.speed})
    return {
        "width": "container",
        "height": 300,
        "data": rows((*_COLUMNS, *_VALUES), points, ("t", "batch", *_VALUES)),
        "params": [
            table_list(drawn),
            choice("criterion", "criterion", (p.criterion for p in drawn)),
            select("measure", "show", _SHOWN, _SHOWN),
        ],
        "transform": [
            IN_TABLE,
            {
                "filter": "datum.criterion === 'dense' || criterion === null"
                " || datum.criterion === criterion"
            },
            *_values(),
        ],
        "layer": _layers(drawn, sizes),
    }


_SHOWN = (_SPEEDUP, _IMAGES, _CALL)


def _values() -> list[Json]:
    """The field `y`, which is what the list `measure` says; only speedups have intervals."""
    value = (
        f"measure === '{_SPEEDUP}' ? datum.speedup : "
        f"measure === '{_IMAGES}' ? datum.images : datum.call"
    )
    limits = (("y1", "slow"), ("y2", "fast"))
    return [
        {"calculate": value, "as": "y"},
        *(
            {"calculate": f"measure === '{_SPEEDUP}' ? datum.{limit} : datum.y", "as": name}
            for name, limit in limits
        ),
    ]


def _layers(drawn: list[Placed], sizes: list[int]) -> list[Json]:
    budgets = sorted({placed.row.budget for placed in drawn if placed.criterion != "dense"})
    names = ["dense", *dict.fromkeys(budget_text(*budget) for budget in budgets)]
    dashes = [list(_DASHES[i % len(_DASHES)]) for i in range(len(names))]
    x: Json = {
        "field": "batch",
        "type": "quantitative",
        "scale": {"type": "log", "base": 2, "nice": False, "padding": 16},
        "axis": {"values": sizes, "title": "batch size"},
    }
    y: Json = {
        "field": "y",
        "type": "quantitative",
        "scale": {"zero": False, "padding": 8},
        "axis": {"title": {"expr": "measure"}},
    }
    shared = {
        "x": x,
        "color": {
            "field": "criterion",
            "scale": criterion_colours(["dense", *(p.criterion for p in drawn)]),
        },
        "detail": {"field": "file"},
    }
    dash = {"field": "budget", "scale": {"domain": names, "range": dashes}}
    tooltip = [
        {"field": "file"},
        {"field": "batch", "type": "quantitative"},
        *(
            {"field": field, "title": title, "type": "quantitative", "format": ".3g"}
            for field, title in (
                ("speedup", "speedup"),
                ("slow", "from"),
                ("fast", "to"),
                ("images", "images/s"),
                ("call", "ms/image"),
            )
        ),
    ]
    return [
        {"mark": "line", "encoding": shared | {"y": y, "strokeDash": dash}},
        {
            "mark": {"type": "rule", "opacity": 0.7},
            "encoding": shared | {"y": y | {"field": "y1"}, "y2": {"field": "y2"}},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
            "encoding": shared | {"y": y, "tooltip": tooltip},
        },
    ]
