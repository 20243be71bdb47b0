"""A heat map of accuracy by file and domain, the unseen domain marked."""

from collections.abc import Iterator

from dgprune.schema import Json
from reports.charts.chart import Chart, by_row, choice, joined, rows
from reports.charts.placed import IN_TABLE, Experiments, Placed, table_list
from reports.setting import Setting

_COLUMNS = ("f", "d", "acc", "low", "high", "images")
_OF_FILE, _OF_DOMAIN = ("t", "criterion", "file"), ("domain", "held")
_LEAST_SPAN = 0.05  # per cent: of equal accuracies a scale would have no length
_TEXT_TURNS = 0.435  # of the range of accuracies: here black and white are as easy to read


def domain_map(found: Experiments) -> Chart | None:
    """The map; None where no accuracy was measured."""
    drawn = [placed for placed in found.rows if placed.row.accuracy]
    if not drawn:
        return None
    heads = {key: n for n, key in enumerate(dict.fromkeys(_heads(drawn)))}
    cells = [cell for placed in drawn for cell in _cells(placed, heads)]
    shares = [100 * cell.record.accuracy for p in drawn for cell in p.row.accuracy.values()]
    span = (min(shares) - _LEAST_SPAN, max(shares) + _LEAST_SPAN)
    return Chart(
        name="domains",
        title="Accuracy by domain",
        text="Per cent of images whose top-1 class is right. Columns in a frame were held out; of "
        "the others, validation images are shown.",
        spec=_spec(drawn, cells, heads, span),
    )


_Head = tuple[str, int]


def _heads(drawn: list[Placed]) -> Iterator[_Head]:
    """What every cell's column is called, and whether it was held out."""
    for placed in drawn:
        for domain in sorted(placed.row.accuracy):
            yield _head(placed.table.setting, domain)


def _head(setting: Setting, domain: str) -> _Head:
    return setting.of_domain(domain), int(_is_held_out(setting, domain))


def _cells(placed: Placed, heads: dict[_Head, int]) -> Iterator[tuple[object, ...]]:
    for domain, cell in sorted(placed.row.accuracy.items()):
        limits = (cell.record.accuracy, cell.interval.low, cell.interval.high)
        column = heads[_head(placed.table.setting, domain)]
        tenths = (round(100 * share, 1) for share in limits)  # as the tables print them
        yield (placed.place, column, *tenths, cell.record.images)


def _file(placed: Placed) -> tuple[object, ...]:
    return (placed.place, placed.number, placed.criterion, placed.file)


def _is_held_out(setting: Setting, domain: str) -> bool:
    return domain == setting.target or not setting.target


def _spec(
    drawn: list[Placed],
    cells: list[tuple[object, ...]],
    heads: dict[_Head, int],
    span: tuple[float, float],
) -> Json:
    y: Json = {
        "field": "file",
        "sort": {"field": "f", "op": "min"},
        "axis": {"title": None, "domain": False, "ticks": False},
    }
    x: Json = {
        "field": "domain",
        "sort": {"field": "held", "order": "descending"},
        "axis": {
            **{"title": None, "orient": "top", "labelAngle": 0, "domain": False, "ticks": False},
            "labelLimit": {"expr": "bandwidth('x') - 4"},
        },
    }
    return {
        **by_row(24),
        "data": rows(_COLUMNS, cells, _COLUMNS),
        "params": [
            table_list(drawn),
            choice("criterion", "criterion", (p.criterion for p in drawn)),
        ],
        "transform": [
            *joined("f", _OF_FILE, map(_file, drawn), ("t",)),
            *joined("d", _OF_DOMAIN, ((n, *head) for head, n in heads.items()), ("held",)),
            IN_TABLE,
            {
                "filter": "datum.criterion === 'dense' || criterion === null"
                " || datum.criterion === criterion"
            },
        ],
        "encoding": {"x": x, "y": y},
        "layer": [_square(span), _frame(), _number(span)],
    }


def _square(span: tuple[float, float]) -> Json:
    """A cell, on one scale of colours for all experiments: a colour means one accuracy."""
    tooltip = [
        {"field": "file"},
        {"field": "domain"},
        *(
            {"field": field, "title": title, "type": "quantitative", "format": form}
            for field, title, form in (
                ("acc", "accuracy, %", ".1f"),
                ("low", "from", ".1f"),
                ("high", "to", ".1f"),
                ("images", "images", "d"),
            )
        ),
    ]
    colour = {
        "field": "acc",
        "type": "quantitative",
        "scale": {"scheme": "viridis", "domain": list(span)},
        "legend": None,  # every cell holds its number
    }
    return {"mark": {"type": "rect"}, "encoding": {"color": colour, "tooltip": tooltip}}


def _frame() -> Json:
    """The frame around what was held out."""
    return {
        "transform": [{"filter": "datum.held === 1"}],
        "mark": {"type": "rect", "filled": False, "stroke": "#D55E00", "strokeWidth": 2},
    }


def _number(span: tuple[float, float]) -> Json:
    turn = span[0] + _TEXT_TURNS * (span[1] - span[0])
    dark = {"test": f"datum.acc > {turn:.6g}", "value": "#000000"}
    return {
        "mark": {"type": "text", "fontSize": 12, "tooltip": False},
        "encoding": {
            "text": {"field": "acc", "type": "quantitative", "format": ".1f"},
            "color": {"condition": dark, "value": "#ffffff"},
        },
    }
