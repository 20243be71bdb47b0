"""A heat map of accuracy by file and domain, the unseen domain marked."""

from collections.abc import Iterator

from dgprune.schema import Json
from reports.charts.chart import Chart, choice, rows
from reports.charts.placed import IN_TABLE, Experiments, Placed, table_list
from reports.setting import Setting

_COLUMNS = ("t", "criterion", "place", "file", "domain", "held")
_NUMBERS = ("t", "place", "held", "acc", "low", "high", "images")
_TEXT_TURNS = 0.55  # of the range of accuracies: below it the colour is dark


def domain_map(found: Experiments) -> Chart | None:
    """The map; None where no accuracy was measured."""
    drawn = [placed for placed in found.rows if placed.row.accuracy]
    if not drawn:
        return None
    cells = [cell for number, placed in enumerate(drawn) for cell in _cells(number, placed)]
    shares = [float(str(cell[6])) for cell in cells]
    low, high = min(shares), max(shares)
    return Chart(
        name="domains",
        title="Accuracy by domain",
        text="Per cent of images whose top-1 class is right. Columns in a frame were held out; of "
        "the others, validation images are shown.",
        spec=_spec(drawn, cells, low + _TEXT_TURNS * (high - low)),
    )


def _cells(number: int, placed: Placed) -> Iterator[tuple[object, ...]]:
    setting = placed.table.setting
    for domain, cell in sorted(placed.row.accuracy.items()):
        yield (
            *(placed.number, placed.criterion, number, placed.file),
            *(setting.of_domain(domain), int(_is_held_out(setting, domain))),
            *(100 * x for x in (cell.record.accuracy, cell.interval.low, cell.interval.high)),
            cell.record.images,
        )


def _is_held_out(setting: Setting, domain: str) -> bool:
    return domain == setting.target or not setting.target


def _spec(drawn: list[Placed], cells: list[tuple[object, ...]], turn: float) -> Json:
    y: Json = {
        "field": "file",
        "sort": {"field": "place", "op": "min"},
        "axis": {"title": None, "labelLimit": 320, "domain": False, "ticks": False},
    }
    x: Json = {
        "field": "domain",
        "sort": {"field": "held", "order": "descending"},
        "axis": {"title": None, "orient": "top", "labelAngle": 0, "domain": False, "ticks": False},
    }
    return {
        "width": "container",
        "height": {"step": 24},
        "autosize": {"type": "fit-x", "contains": "padding"},
        "data": rows((*_COLUMNS, "acc", "low", "high", "images"), cells, _NUMBERS),
        "params": [
            table_list(drawn),
            choice("criterion", "criterion", (p.criterion for p in drawn)),
        ],
        "transform": [
            IN_TABLE,
            {
                "filter": "datum.criterion === 'dense' || criterion === null"
                " || datum.criterion === criterion"
            },
        ],
        "encoding": {"x": x, "y": y},
        "layer": [_square(), _frame(), _number(turn)],
    }


def _square() -> Json:
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
        "scale": {"scheme": "viridis"},
        "legend": None,  # every cell holds its number
    }
    return {"mark": {"type": "rect"}, "encoding": {"color": colour, "tooltip": tooltip}}


def _frame() -> Json:
    """The frame around what was held out."""
    return {
        "transform": [{"filter": "datum.held === 1"}],
        "mark": {"type": "rect", "filled": False, "stroke": "#D55E00", "strokeWidth": 2},
    }


def _number(turn: float) -> Json:
    dark = {"test": f"datum.acc > {turn:.6g}", "value": "#111111"}
    return {
        "mark": {"type": "text", "fontSize": 12, "tooltip": False},
        "encoding": {
            "text": {"field": "acc", "type": "quantitative", "format": ".1f"},
            "color": {"condition": dark, "value": "#ffffff"},
        },
    }
