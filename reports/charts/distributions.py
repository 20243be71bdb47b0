"""Latency as a distribution: the share of calls that took no longer, for both arms."""

from collections.abc import Iterator

import numpy as np

from dgprune.records import LatencyRecord
from dgprune.schema import Json
from dgprune.statistics import samples_ns
from dgprune.timing import Arm
from reports.charts.chart import Chart, rows, select
from reports.charts.placed import IN_TABLE, Experiments, Placed, table_list
from reports.charts.theme import BASELINE, CANDIDATE

_POINTS = 40_000  # over all curves together: what a page holds without growing slow
_MOST, _FEWEST = 101, 9
_BODY = 0.99  # the slowest call alone would stretch the axis
_FINE = 2_000  # steps between quantiles are told in such parts: short, and all that is seen


def distributions(found: Experiments) -> Chart | None:
    """A pair of curves a file and batch size; None where nothing was timed."""
    drawn = [placed for placed in found.rows if placed.row.speed]
    if not drawn:
        return None
    cells = [(p, size, cell.record) for p in drawn for size, cell in p.row.speed.items()]
    count = max(_FEWEST, min(_MOST, _POINTS // (2 * len(cells))))
    shares = np.linspace(0.0, 1.0, count)
    names = list(dict.fromkeys(placed.file for placed in drawn))
    place = {name: number for number, name in enumerate(names)}
    lines: list[tuple[object, ...]] = [
        (placed.number, place[placed.file], size, int(arm == "candidate"), *_curve(times))
        for placed, size, record in cells
        for arm, times in _quantiles(record, shares)
    ]
    return Chart(
        name="distributions",
        title="Latency distributions",
        text="The share of calls that took no longer than a time, of every sample that counts: "
        f"{count} quantiles of each. A long flat end is a tail; a step is a second mode, as of a "
        "clock that changed.",
        spec=_spec(lines, drawn, names),
    )


def _quantiles(record: LatencyRecord, shares: np.ndarray) -> Iterator[tuple[Arm, np.ndarray]]:
    """Milliseconds of a call at each of `shares`, of both arms."""
    arms: tuple[Arm, ...] = ("baseline", "candidate")
    for arm in arms:
        yield arm, np.quantile(np.asarray(samples_ns(record, arm)), shares) / 1e6


def _curve(times_ms: np.ndarray) -> tuple[float, str]:
    """The fastest call, and how far every quantile is from the one before in parts of it."""
    fastest = float(times_ms[0])
    parts = np.rint(_FINE * times_ms / fastest).astype(int)
    return fastest, " ".join(map(str, np.diff(parts).tolist()))


_COLUMNS = ("t", "file_of", "batch_of", "pruned", "fastest", "steps")


def _spec(lines: list[tuple[object, ...]], drawn: list[Placed], names: list[str]) -> Json:
    sizes = sorted({size for placed in drawn for size in placed.row.speed})
    first = min(drawn[0].row.speed)
    colours = {"domain": ["dense", "pruned"], "range": [BASELINE, CANDIDATE]}
    numbers = (("share", "share of calls", ".0%"), ("ms", "ms a call at most", ".4g"))
    tooltip = [
        {"field": "arm", "title": "file"},
        *(
            {"field": field, "title": title, "type": "quantitative", "format": form}
            for field, title, form in numbers
        ),
    ]
    return {
        "width": "container",
        "height": 260,
        "data": rows(_COLUMNS, lines, _COLUMNS[:-1]),
        "params": [
            table_list(drawn),
            select("file", "file", list(range(len(names))), names),
            select("batch", "batch", sizes, [str(size) for size in sizes], first),
            select("part", "calls", [_BODY, 1.0], [f"the fastest {_BODY:.0%}", "all"]),
        ],
        "transform": _transform(),
        "mark": {"type": "line", "point": {"size": 12}},
        "encoding": {
            "x": {
                "field": "ms",
                "type": "quantitative",
                "scale": {"zero": False},
                "title": "milliseconds a call",
            },
            "y": {
                "field": "share",
                "type": "quantitative",
                "title": "share of calls",
                "axis": {"format": ".0%"},
            },
            "color": {
                **{"field": "arm", "scale": colours, "title": None},
                "legend": {"symbolType": "stroke", "symbolSize": 400},
            },
            "strokeDash": {
                "field": "arm",
                "scale": {"domain": ["dense", "pruned"], "range": [[4, 3], [1, 0]]},
                "title": None,
            },
            "order": {"field": "share", "type": "quantitative"},
            "tooltip": tooltip,
        },
    }


def _transform() -> list[Json]:
    """The two curves that the lists name, a point a quantile."""
    return [
        IN_TABLE,
        {"filter": "datum.file_of === file && datum.batch_of === batch"},
        {"calculate": "datum.pruned ? 'pruned' : 'dense'", "as": "arm"},
        {"calculate": "split('0 ' + datum.steps, ' ')", "as": "step"},
        {"calculate": "length(datum.step) - 1", "as": "last"},
        {"flatten": ["step"]},
        {"calculate": "toNumber(datum.step)", "as": "step"},
        {
            "window": [
                {"op": "row_number", "as": "place"},
                {"op": "sum", "field": "step", "as": "over"},
            ],
            "groupby": ["arm"],
        },
        {"calculate": "(datum.place - 1) / datum.last", "as": "share"},
        {"calculate": f"datum.fastest * (1 + datum.over / {_FINE})", "as": "ms"},
        {"filter": "datum.share <= part"},
    ]
