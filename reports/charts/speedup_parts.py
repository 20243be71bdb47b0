"""Where a speedup comes from: pruning, precision and runtime as lengths on one log scale."""

from collections.abc import Iterator, Sequence

from dgprune.records import Entry
from dgprune.schema import Json
from reports.attribution import Attribution, attributions
from reports.charts.chart import Chart, rows, select
from reports.charts.theme import INK

_PARTS = ("pruning", "precision", "runtime")
_COLOURS = ("#0072B2", "#E69F00", "#009E73")
_COLUMNS = ("batch", "name", "place", "part", "from", "to", "factor", "macs")


def speedup_parts(entries: Sequence[Entry]) -> Chart | None:
    """A bar a pruned file and runtime; None where there is no speedup."""
    found = attributions(entries)
    if not found:
        return None
    sizes = sorted({a.record.batch_size for a in found})
    lines = [line for number, a in enumerate(found) for line in _parts(number, a)]
    return Chart(
        name="speedup-parts",
        title="Where the speedup comes from",
        text="Factors multiply, so they add up on this scale: pruning first, then what the "
        "precision and the runtime bring for the dense file, where that was measured. The tick is "
        "the reduction of MACs: a bar that ends before it shows that latency did not follow.",
        spec=_spec(lines, sizes),
    )


def _parts(number: int, a: Attribution) -> Iterator[tuple[object, ...]]:
    spec, subject = a.record.runtime, a.record.subject
    name = f"{subject.label}, {subject.origin.held_out} – {spec.name}, {subject.precision}"
    start = 1.0
    for part, interval in zip(_PARTS, (a.pruning, a.precision, a.runtime), strict=True):
        if interval is not None:
            end = start * interval.estimate
            factor = interval.estimate
            yield (a.record.batch_size, name, number, part, start, end, factor, a.macs_ratio)
            start = end


def _spec(lines: list[tuple[object, ...]], sizes: list[int]) -> Json:
    numbers = ("batch", "place", "from", "to", "factor", "macs")
    return {
        "width": "container",
        "height": {"step": 26},
        "autosize": {"type": "fit-x", "contains": "padding"},
        "data": rows(_COLUMNS, lines, numbers),
        "params": [select("batch", "batch", sizes, [str(size) for size in sizes])],
        "transform": [{"filter": "datum.batch === batch"}],
        "encoding": {
            "y": {
                "field": "name",
                "sort": {"field": "place", "op": "min"},
                "axis": {"title": None, "labelLimit": 360, "domain": False, "ticks": False},
            }
        },
        "layer": [_bars(), _tick()],
    }


def _bars() -> Json:
    x = {
        "field": "from",
        "type": "quantitative",
        "scale": {"type": "log", "base": 2, "nice": False},
        "axis": {"title": "speedup over dense fp32", "labelExpr": "datum.value + 'x'"},
    }
    return {
        "mark": {"type": "bar", "height": 14},
        "encoding": {
            "x": x,
            "x2": {"field": "to"},
            "color": {
                "field": "part",
                "title": None,
                "scale": {"domain": list(_PARTS), "range": list(_COLOURS)},
            },
            "tooltip": [
                {"field": "name", "title": "file"},
                {"field": "part"},
                {"field": "factor", "title": "times", "type": "quantitative", "format": ".2f"},
                {"field": "macs", "title": "MACs", "type": "quantitative", "format": ".2f"},
            ],
        },
    }


def _tick() -> Json:
    return {
        "mark": {"type": "tick", "thickness": 2, "size": 20, "color": INK},
        "encoding": {"x": {"field": "macs", "type": "quantitative"}},
    }
