"""Where the time goes: the executed nodes of a file, summed by what they are for."""

from collections import Counter
from collections.abc import Iterator, Sequence

from dgprune.kind_table import SUM, kind_rows
from dgprune.node_kinds import KINDS
from dgprune.records import Entry, ProfileRecord
from dgprune.schema import Json
from reports.charts.chart import Chart, by_row, rows
from reports.charts.theme import SERIES
from reports.setting import setting_of

_COLUMNS = ("file", "place", "kind", "order", "ms", "share")


def layer_kinds(entries: Sequence[Entry]) -> Chart | None:
    """A bar a profiled file; None where no file was profiled."""
    records = [entry.record for entry in entries if isinstance(entry.record, ProfileRecord)]
    if not records:
        return None
    names = _names(records)
    lines = [line for n, record in enumerate(records) for line in _lines(record, 2 * n, names)]
    return Chart(
        name="layer-kinds",
        title="Where the time goes",
        text="Time of every node that the runtime executes, by its own profiler, summed by what "
        "the node is for. Counting slows small nodes down: compare parts, not the whole.",
        spec=_spec(lines),
    )


def _names(records: Sequence[ProfileRecord]) -> list[str]:
    """Two bars a record, dense and its own: each has a name of its own, or they would add up."""
    seen: Counter[str] = Counter()
    found = []
    for record in records:
        subject, baseline = record.subject, record.baseline
        label = f"{subject.label}, {setting_of(subject).held_out}"
        where = f"{record.runtime.name}, {subject.precision}, batch {record.batch_size}"
        beside = f"{baseline.label} beside {label} – {where}" if baseline else ""
        for name in (beside, f"{label} – {where}"):
            seen[name] += 1
            found.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return found


def _lines(record: ProfileRecord, place: int, names: Sequence[str]) -> Iterator[tuple[object, ...]]:
    for row in kind_rows(record):
        if row.kind == SUM:
            continue
        order = [*KINDS, row.kind].index(row.kind)
        if record.baseline is not None and row.baseline_s is not None:
            share = row.baseline_share or 0.0
            yield (names[place], place, row.kind, order, 1e3 * row.baseline_s, share)
        yield (names[place + 1], place + 1, row.kind, order, 1e3 * row.candidate_s, row.share)


def _spec(lines: list[tuple[object, ...]]) -> Json:
    return {
        **by_row(26),
        "data": rows(_COLUMNS, lines, ("place", "order", "ms", "share")),
        "mark": {"type": "bar", "height": 16},
        "encoding": {
            "y": {
                "field": "file",
                "sort": {"field": "place", "op": "min"},
                "axis": {"title": None, "domain": False, "ticks": False},
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
