"""Speedup and throughput over the batch size, a line a file."""

from collections.abc import Iterator

from dgprune.schema import Json
from reports.charts.chart import Chart, choice, joined, rows, select
from reports.charts.placed import IN_TABLE, Experiments, Placed, speed_of, table_list
from reports.charts.theme import criterion_colours
from reports.recipe import budget_text

_COLUMNS = ("f", "dense", "batch", "speedup", "slow", "fast", "ms")
_OF_FILE = ("t", "criterion_of", "budget_of", "file_of", "base")
_SPEEDUP, _IMAGES, _CALL = "speedup over dense", "images per second", "milliseconds per image"
_DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])


def batch_sweep(found: Experiments) -> Chart | None:
    """The curves; None where every file was timed at one batch size only."""
    drawn = [placed for placed in found.rows if len(placed.row.speed) > 1]
    if not drawn:
        return None
    firsts = list({p.number: p for p in reversed(drawn)}.values())
    points = [point for placed in drawn for point in _points(placed)]
    points += [point for placed in firsts for point in _dense_points(placed)]
    return Chart(
        name="batch-sweep",
        title="Batch size",
        text="The same files over the batch size. Bars of speedups are 95 % intervals; rates are "
        "of the median call, dense as it ran beside the first file of its table.",
        spec=_spec(drawn, points),
    )


def _points(placed: Placed) -> Iterator[tuple[object, ...]]:
    for size, cell in placed.row.speed.items():
        yield (placed.place, 0, size, *speed_of(cell), 1e3 * cell.latency_s)


def _dense_points(placed: Placed) -> Iterator[tuple[object, ...]]:
    """The dense file as it ran beside `placed`."""
    for size, cell in placed.row.speed.items():
        yield (placed.place, 1, size, 1.0, 1.0, 1.0, 1e3 * cell.baseline_latency_s)


def _file(placed: Placed) -> tuple[object, ...]:
    """What every point of a file shares, and the name of the dense file beside it."""
    record = next(iter(placed.row.speed.values())).record
    assert record.baseline is not None
    texts = (placed.criterion, budget_text(*placed.row.budget), placed.file)
    return (placed.place, placed.number, *texts, record.baseline.label)


def _spec(drawn: list[Placed], points: list[tuple[object, ...]]) -> Json:
    sizes = sorted({size for placed in drawn for size in placed.row.speed})
    return {
        "width": "container",
        "height": 300,
        "data": rows(_COLUMNS, points, _COLUMNS),
        "params": [
            table_list(drawn),
            choice("criterion", "criterion", (p.criterion for p in drawn)),
            select("measure", "show", _SHOWN, _SHOWN),
        ],
        "transform": [
            *joined("f", _OF_FILE, map(_file, drawn), ("t",)),
            IN_TABLE,
            *_names(),
            {
                "filter": "datum.criterion === 'dense' || criterion === null"
                " || datum.criterion === criterion"
            },
            *_values(),
        ],
        "layer": _layers(drawn, sizes),
    }


_SHOWN = (_SPEEDUP, _IMAGES, _CALL)


def _names() -> list[Json]:
    """Criterion, budget and file: of a point of a dense file, `dense` and its own name."""
    ways = (("criterion", "'dense'"), ("budget", "'dense'"), ("file", "datum.base"))
    return [
        {"calculate": f"datum.dense ? {dense} : datum.{name}_of", "as": name}
        for name, dense in ways
    ]


def _values() -> list[Json]:
    """The field `y`, which is what the list `measure` says; only speedups have intervals."""
    value = (
        f"measure === '{_SPEEDUP}' ? datum.speedup : "
        f"measure === '{_IMAGES}' ? datum.images : datum.call"
    )
    limits = (("y1", "slow"), ("y2", "fast"))
    return [
        {"calculate": "1000 * datum.batch / datum.ms", "as": "images"},
        {"calculate": "datum.ms / datum.batch", "as": "call"},
        {"calculate": value, "as": "y"},
        *(
            {"calculate": f"measure === '{_SPEEDUP}' ? datum.{limit} : datum.y", "as": name}
            for name, limit in limits
        ),
    ]


def _layers(drawn: list[Placed], sizes: list[int]) -> list[Json]:
    budgets = sorted({placed.row.budget for placed in drawn if placed.criterion != "dense"})
    names = ["dense", *dict.fromkeys(budget_text(*budget) for budget in budgets)]
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
    dash: Json = {
        "field": "budget",
        "scale": {"domain": names, "range": [list(dash) for dash in _DASHES]},
        "legend": {"symbolSize": 400},
    }
    if len(names) > len(_DASHES):  # then a dash would stand for several budgets
        dash = {"value": [1, 0]}
    return [
        {"mark": "line", "encoding": shared | {"y": y, "strokeDash": dash}},
        {
            "mark": {"type": "rule", "opacity": 0.7},
            "encoding": shared | {"y": y | {"field": "y1"}, "y2": {"field": "y2"}},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
            "encoding": shared | {"y": y, "tooltip": _tooltip()},
        },
    ]


def _tooltip() -> list[Json]:
    return [
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
