"""A chart: a Vega-Lite specification and the words beside it."""

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dgprune.schema import Json

# What XML, and so a picture, cannot hold.
_UNDRAWABLE = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """`name` is its anchor on the page; `text` says how to read it; `spec` is Vega-Lite."""

    name: str
    title: str
    text: str
    spec: Json


def rows(
    columns: Sequence[str], values: Iterable[Sequence[object]], numbers: Sequence[str]
) -> Json:
    """Inline data as CSV: a third of the size of a list of objects; None is an empty field.

    `numbers` names the columns that hold numbers; the others are text.
    """
    parse = {name: "number" if name in numbers else "string" for name in columns}
    return {"values": _csv(columns, values), "format": {"type": "csv", "parse": parse}}


def _csv(columns: Sequence[str], values: Iterable[Sequence[object]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([[_field(value) for value in row] for row in values])
    return buffer.getvalue()


def joined(
    key: str, columns: Sequence[str], values: Iterable[Sequence[object]], numbers: Sequence[str]
) -> list[Json]:
    """Transforms that give every row the `columns` of the line of `values` that has its `key`.

    What many rows share, such as the name of their file, then stands on the page once.
    """
    data = {"values": _csv((key, *columns), values), "format": {"type": "csv"}}
    return [
        {"lookup": key, "from": {"data": data, "key": key, "fields": list(columns)}},
        # Vega-Lite parses numbers of the first source only.
        *({"calculate": f"toNumber(datum.{name})", "as": name} for name in numbers),
    ]


def by_row(step: int) -> Json:
    """Size of a chart with a row of `step` pixels a file, as wide as the page.

    The page sets the width itself (`charts.js`): Vega-Lite warns of a width that follows its
    container beside a height that follows the rows.
    """
    return {"width": 640, "height": {"step": step}, "usermeta": {"fitsWidth": True}}


def drawable(text: str) -> str:
    """Text from a record with a mark in the place of each character that no picture can hold."""
    return _UNDRAWABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def _field(value: object) -> object:
    """A number short enough for a page that holds many, that still prints as the tables print it.

    At least five significant digits, more where those would round to another printed number.
    """
    if isinstance(value, str):
        return drawable(value)
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None  # an interval of a single round has no limits: nothing to draw
    exact = [f"{value:.{places}f}" for places in _PRINTED]
    for digits in _DIGITS:
        short = f"{value:.{digits}g}"
        if exact == [_fixed(float(short), places) for places in _PRINTED]:
            return short
    return repr(math.nextafter(value, -math.inf))  # a tie: browsers round it up, Python to even


_DIGITS = (5, 6, 7, 8, 9, 17)
_PRINTED = (1, 2, 3)  # decimals that tables and tooltips print


def _fixed(value: float, places: int) -> str:
    """As a browser prints it: of two numbers that are as near the larger one."""
    numerator, denominator = value.as_integer_ratio()
    doubled, rest = divmod(2 * 10**places * numerator, denominator)
    if rest == 0 and doubled % 2:  # as near: Python would take the even one
        value = math.nextafter(value, math.inf)
    return f"{value:.{places}f}"


def select(
    name: str, words: str, options: Sequence[Any], labels: Sequence[str], first: Any = None
) -> Json:
    """A drop-down list that sets the parameter `name`; `first` or its first option is chosen."""
    return {
        "name": name,
        "value": options[0] if first is None else first,
        "bind": {
            "input": "select",
            "options": list(options),
            "labels": [drawable(label) for label in labels],
            "name": f"{words} ",
        },
    }


def choice(name: str, words: str, found: Iterable[str]) -> Json:
    """A drop-down list of what was `found` in the data, and of all of it, which is chosen."""
    options = sorted({drawable(text) for text in found})
    return select(name, words, [None, *options], ["all", *options])


def chosen(name: str, column: str) -> Json:
    """Keeps rows whose `column` is what the list `name` says; all where it says all."""
    return {"filter": f"{name} === null || datum.{column} === {name}"}
