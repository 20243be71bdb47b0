"""Where a speedup comes from: pruning, precision and runtime as lengths on one log scale."""

from collections import Counter
from collections.abc import Mapping, Sequence

from dgprune.schema import Json
from reports.attribution import Attribution
from reports.charts.chart import Chart, by_row, joined, rows, select
from reports.charts.theme import INK
from reports.setting import seed_of, setting_of

_PARTS = ("pruning", "precision", "runtime")
_COLOURS = ("#0072B2", "#E69F00", "#009E73")
_COLUMNS = ("f", "batch", *_PARTS)
_OF_FILE = ("e", "on", "macs", "label")


def speedup_parts(attributed: Mapping[str, Sequence[Attribution]]) -> Chart | None:
    """A bar a pruned file and runtime, by section; None where there is no speedup."""
    found = [(section, a) for section, group in attributed.items() for a in group]
    if not found:
        return None
    titles = list(dict.fromkeys(_title(section, a) for section, a in found))
    places = list(dict.fromkeys(_where(a) for _, a in found))
    files: dict[str, tuple[int, tuple[object, ...]]] = {}
    lines: list[tuple[object, ...]] = []
    for name, (section, a) in zip(_names(found), found, strict=True):
        of_file = (titles.index(_title(section, a)), places.index(_where(a)), a.macs_ratio, name)
        f, _ = files.setdefault(repr((a.record.subject.sha256, of_file)), (len(files), of_file))
        gains = (a.pruning, a.precision, a.runtime)
        lines.append((f, a.record.batch_size, *(gain and gain.estimate for gain in gains)))
    named = _told_apart([of_file for _, of_file in files.values()])
    return Chart(
        name="speedup-parts",
        title="Where the speedup comes from",
        text="Factors multiply, so they add up on this scale: pruning first, then what the "
        "precision and the runtime bring for the dense file, where that was measured. The tick is "
        "the reduction of MACs: a bar that ends before it shows that latency did not follow.",
        spec=_spec(lines, named, titles, places),
    )


def _title(section: str, a: Attribution) -> str:
    origin = a.record.subject.origin
    held_out = setting_of(a.record.subject).held_out
    size = origin.preprocessing.image_size
    title = f"{origin.model} at {size} px on {origin.data_name}, {held_out}"
    return f"{section}: {title}" if section else title


def _where(a: Attribution) -> str:
    return f"{a.record.runtime.name}, {a.record.subject.precision}"


def _names(found: list[tuple[str, Attribution]]) -> list[str]:
    """Label, and seed where there are several."""
    several = len({seed_of(a.record.subject) for _, a in found}) > 1
    return [
        a.record.subject.label + (f" (seed {seed_of(a.record.subject)})" if several else "")
        for _, a in found
    ]


def _told_apart(files: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """Files of one name in one place, numbered: their bars must not fall on each other."""
    seen: Counter[tuple[object, ...]] = Counter()
    found = []
    for *of_file, name in files:
        key = (*of_file[:2], name)
        seen[key] += 1
        found.append((*of_file, name if seen[key] == 1 else f"{name} ({seen[key]})"))
    return found


def _spec(
    lines: list[tuple[object, ...]],
    files: list[tuple[object, ...]],
    titles: list[str],
    places: list[str],
) -> Json:
    sizes = sorted({int(str(line[1])) for line in lines})
    named = [(place, *file) for place, file in enumerate(files)]
    return {
        **by_row(26),
        "data": rows(_COLUMNS, lines, _COLUMNS),
        "params": [
            select("experiment", "experiment", list(range(len(titles))), titles),
            select("batch", "batch", sizes, [str(size) for size in sizes], _batch_of_first(lines)),
        ],
        "transform": [
            *joined("f", _OF_FILE, named, _OF_FILE[:-1]),
            *joined("on", ("where",), enumerate(places), ()),
            {"calculate": "datum.label + ' – ' + datum.where", "as": "name"},
            {"filter": "datum.e === experiment && datum.batch === batch"},
        ],
        "encoding": {
            "y": {
                "field": "name",
                "sort": {"field": "f", "op": "min"},
                "axis": {"title": None, "domain": False, "ticks": False},
            }
        },
        "layer": [_bars(), _tick()],
    }


def _lengths() -> list[Json]:
    """A bar a part that was measured, from where the one before it ends."""
    before = " : ".join(
        f"datum.part === '{part}' ? {' * '.join(['1', *_factors(place)])}"
        for place, part in enumerate(_PARTS)
    )
    return [
        {"fold": list(_PARTS), "as": ["part", "factor"]},
        {"filter": "isValid(datum.factor)"},
        {"calculate": f"{before} : 1", "as": "from"},
        {"calculate": "datum.from * datum.factor", "as": "to"},
    ]


def _factors(place: int) -> list[str]:
    """What the parts before the one at `place` come to; 1 where one was not measured."""
    return [f"(isValid(datum.{part}) ? datum.{part} : 1)" for part in _PARTS[:place]]


def _batch_of_first(lines: list[tuple[object, ...]]) -> object:
    """The smallest batch size of the file on top, which is in the experiment that is shown."""
    return min(int(str(line[1])) for line in lines if line[0] == 0)


def _bars() -> Json:
    x = {
        "field": "from",
        "type": "quantitative",
        "scale": {"type": "log", "base": 2, "nice": False},
        "axis": {
            "title": "speedup over dense fp32",
            "labelExpr": "datum.value + 'x'",
            "orient": "top",  # in sight, however many files there are
        },
    }
    return {
        "transform": _lengths(),
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
