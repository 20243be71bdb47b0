"""Numbers inside charts: short, and printed by a browser as the tables print them."""

import csv
import io
import json
import math
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reports.charts.chart import Chart, choice, drawable, joined, rows, select
from tests.fakes.drawn import scene, texts_of


def cells(*values: object) -> list[str]:
    names = [f"c{n}" for n in range(len(values))]
    lines = csv.reader(io.StringIO(rows(names, [values], names)["values"]))
    return list(lines)[1]


def in_browser(text: str, places: int) -> str:
    """`Number.toFixed`: of two numbers that are as near the larger one."""
    return str(Decimal(float(text)).quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP))


@given(st.floats(0, 1e6, allow_nan=False).map(lambda x: float(f"{x:.12g}")))
@example(53.25)
@example(6.25)
@example(1.005)
@example(0.0625)
@example(128.12345)
def test_a_chart_prints_what_a_table_prints(value: float) -> None:
    (text,) = cells(value)
    assert [in_browser(text, places) for places in (1, 2, 3)] == [
        f"{value:.{places}f}" for places in (1, 2, 3)
    ]
    assert float(text) == pytest.approx(value, rel=1e-4)


@pytest.mark.parametrize("value", [None, math.inf, -math.inf, math.nan])
def test_what_is_no_number_is_an_empty_field(value: float | None) -> None:
    assert cells(value, 1) == ["", "1"]


@given(st.text(max_size=20))
def test_text_comes_back_as_it_was(text: str) -> None:
    data = rows(("n", "text"), [(1, text)], ("n",))["values"]
    if "\r" in text:
        return  # a lone carriage return is a line break to some readers
    found = list(csv.reader(io.StringIO(data, newline="")))
    assert found[1] == ["1", drawable(text)]


def test_what_no_picture_can_hold_is_marked_and_all_else_stays() -> None:
    assert drawable("a\0b\x1b\ud800c\ufffe") == "a\ufffdb\ufffd\ufffdc\ufffd"
    plain = "tab\tline\n<b> é 猫 \U0001f600"
    assert drawable(plain) == plain


def test_lists_choose_the_first_or_what_they_are_told() -> None:
    assert select("a", "a", [1, 2], ["one", "two"])["value"] == 1
    assert select("a", "a", [1, 2], ["one", "two"], 2)["value"] == 2
    assert choice("a", "a", ["z", "b", "z"])["bind"]["options"] == [None, "b", "z"]


def test_joined_columns_are_numbers_where_they_are_said_to_be() -> None:
    spec = {
        "data": rows(("f",), [(1,), (0,), (7,)], ("f",)),
        "transform": [
            *joined("f", ("name", "n"), [(0, "zero", 4), (1, 'a, "quoted"\nname', None)], ("n",)),
            {"calculate": "datum.name + ' ' + (datum.n === 4) + ' ' + isValid(datum.n)", "as": "t"},
        ],
        "mark": "text",
        "encoding": {"text": {"field": "t"}},
    }
    found = texts_of(scene(Chart(name="x", title="x", text="x", spec=spec)))
    assert found == ['a, "quoted"\nname false false', "zero true true", "null false false"]
    assert json.dumps(spec, allow_nan=False)
