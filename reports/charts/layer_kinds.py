"""Where the time goes: the executed nodes of a file, summed by what they are for."""

from collections.abc import Iterator, Sequence

from dgprune.kind_table import SUM, kind_rows
from dgprune.node_kinds import KINDS
from dgprune.records import Entry, ProfileRecord
from dgprune.schema import Json
from reports.charts.chart import Chart, rows
from reports.charts.theme import SERIES

_COLUMNS = ("profile", "file", "place", "kind", "order", "ms", "share")


def layer_kinds(entries: Sequence[Entry]) -> Chart | None:
    """A bar a profiled file; None where no file was profiled."""
    records = [entry.record for entry in entries if isinstance(entry.record, ProfileRecord)]
    if not records:
        return None
    lines = [line for number, record in enumerate(records) for line in _lines(number, record)]
    return Chart(
        name="layer-kinds",
        title="Where the time goes",
        text="Time of every node that the runtime executes, by its own profiler, summed by what "
        "the node is for. Counting slows small nodes down: compare parts, not the whole.",
        spec=_spec(lines),
    )


def _lines(number: int, record: ProfileRecord) -> Iterator[tuple[object, ...]]:
    subject, runtime = record.subject, record.runtime
    where = f"{runtime.name}, {subject.precision}, batch {record.batch_size}"
    for row in kind_rows(record):
        if row.kind == SUM:
            continue
        order = [*KINDS, row.kind].index(row.kind)
        if record.baseline is not None and row.baseline_s is not None:
            name = f"{record.baseline.label} – {where}"
            share = row.baseline_share or 0.0
            yield (number, name, 2 * number, row.kind, order, 1e3 * row.baseline_s, share)
        name = f"{subject.label} – {where}"
        yield (number, name, 2 * number + 1, row.kind, order, 1e3 * row.candidate_s, row.share)


def _spec(lines: list[tuple[object, ...]]) -> Json:
    return {
        "width": "container",
        "height": {"step": 26},
        "autosize": {"type": "fit-x", "contains": "padding"},
        "data": rows(_COLUMNS, lines, ("profile", "place", "order", "ms", "share")),
        "mark": {"type": "bar", "height": 16},
        "encoding": {
            "y": {
                "field": "file",
                "sort": {"field": "place", "op": "min"},
                "axis": {"title": None, "labelLimit": 360, "domain": False, "ticks": False},
            },
            "x": {"field": "ms", "type": "quantitative", "title": "milliseconds a call"},
            "color": {
                "field": "kind",
                "title": None,
                "scale": {"domain": list(KINDS), "range": list(SERIES)},
            },
            "order": {"field": "order", "type": "quantitative"},
            "tooltip": [
                {"field": "file"},
                {"field": "kind", "title": "what for"},
                {"field": "ms", "title": "ms a call", "type": "quantitative", "format": ".3f"},
                {"field": "share", "title": "share", "type": "quantitative", "format": ".0%"},
            ],
        },
    }
