"""Latency as a distribution: the share of calls that took no longer, for both arms."""

from collections.abc import Iterator, Sequence

import numpy as np

from dgprune.records import LatencyRecord
from dgprune.schema import Json
from dgprune.statistics import samples_ns
from dgprune.timing import Arm
from reports.charts.chart import Chart, rows, select
from reports.charts.placed import Experiments, Placed
from reports.charts.theme import BASELINE, CANDIDATE

_POINTS = 40_000  # over all curves together: what a page holds without growing slow
_MOST, _FEWEST = 101, 9
_BODY = 0.99  # the slowest call alone would stretch the axis
_COLUMNS = ("c", "arm", "share", "ms")


def distributions(found: Experiments) -> Chart | None:
    """A pair of curves a file and batch size; None where nothing was timed."""
    cells = [(p, size, cell.record) for p in found.rows for size, cell in p.row.speed.items()]
    if not cells:
        return None
    count = max(_FEWEST, min(_MOST, _POINTS // (2 * len(cells))))
    shares = np.linspace(0.0, 1.0, count)
    lines = [
        line
        for number, (_, _, record) in enumerate(cells)
        for line in _curves(number, record, shares)
    ]
    names = [_name(placed, size, found) for placed, size, _ in cells]
    return Chart(
        name="distributions",
        title="Latency distributions",
        text="The share of calls that took no longer than a time, of every sample that counts: "
        f"{count} quantiles of each. A long flat end is a tail; a step is a second mode, as of a "
        "clock that changed.",
        spec=_spec(lines, names),
    )


def _name(placed: Placed, size: int, found: Experiments) -> str:
    where = f", {found.titles[placed.experiment]}" if len(found.titles) > 1 else ""
    return f"{placed.file}, batch {size}, {placed.variant}{where}"


def _curves(number: int, record: LatencyRecord, shares: np.ndarray) -> Iterator[tuple[object, ...]]:
    arms: Sequence[tuple[Arm, str]] = (("baseline", "dense"), ("candidate", "pruned"))
    for arm, name in arms:
        times_ms = np.quantile(np.asarray(samples_ns(record, arm)), shares) / 1e6
        for share, time_ms in zip(shares.tolist(), times_ms.tolist(), strict=True):
            yield (number, name, share, time_ms)


def _spec(lines: list[tuple[object, ...]], names: list[str]) -> Json:
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
        "data": rows(_COLUMNS, lines, ("c", "share", "ms")),
        "params": [
            select("cell", "file", list(range(len(names))), names),
            select("part", "calls", [_BODY, 1.0], [f"the fastest {_BODY:.0%}", "all"]),
        ],
        "transform": [{"filter": "datum.c === cell && datum.share <= part"}],
        "mark": {"type": "line", "interpolate": "step-before", "point": {"size": 12}},
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
            "color": {"field": "arm", "scale": colours, "title": None},
            "strokeDash": {
                "field": "arm",
                "scale": {"domain": ["dense", "pruned"], "range": [[4, 3], [1, 0]]},
                "title": None,
            },
            "order": {"field": "share", "type": "quantitative"},
            "tooltip": tooltip,
        },
    }
