"""A chart: a Vega-Lite specification and the words beside it."""

import csv
import io
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
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([[_field(value) for value in row] for row in values])
    parse = {name: "number" if name in numbers else "string" for name in columns}
    return {"values": buffer.getvalue(), "format": {"type": "csv", "parse": parse}}


def _field(value: object) -> object:
    """Of a number six significant digits: what a picture can show; tables print the records."""
    if isinstance(value, str):
        return drawable(value)
    return f"{value:.6g}" if isinstance(value, float) else value


def drawable(text: str) -> str:
    """Text from a record with a mark in the place of each character that no picture can hold."""
    return _UNDRAWABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def select(name: str, words: str, options: Sequence[Any], labels: Sequence[str]) -> Json:
    """A drop-down list that sets the parameter `name`; its first option is chosen."""
    return {
        "name": name,
        "value": options[0],
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
