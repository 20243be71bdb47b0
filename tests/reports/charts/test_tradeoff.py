"""Accuracy against speedup: every point a file, and a front that no file is left out of."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.charts.chart import Chart
from reports.charts.placed import experiments
from reports.charts.tradeoff import tradeoff
from reports.rows import tables
from tests.fakes.drawn import marks, scene, texts_of
from tests.fakes.sweep_files import File, Sweep
from tests.fakes.sweeps import entries_of_files, sweep_entries

SMALL = Sweep(domains=("a", "c"), batches=(1,), rounds=3, calls=2, depth=2)
DENSE = File(target="c", seed=0, runtime="onnxruntime", precision="fp32")
MEASURED, COUNTED = "measured speedup over dense", "reduction of MACs over dense"


def chart_of(sweep: Sweep) -> Chart:
    chart = tradeoff(experiments(tables(sweep_entries(sweep))))
    assert chart is not None
    return chart


def points(drawn: Any) -> list[Any]:
    return [item for mark in marks(drawn, "symbol") for item in mark]


def place(item: Any) -> tuple[float, float]:
    return (round(item["x"], 3), round(item["y"], 3))


def best(found: set[tuple[float, float]]) -> set[tuple[float, float]]:
    """The Pareto front of (speed, accuracy), by its definition."""
    return {
        (x, y)
        for x, y in found
        if not any(a >= x and b >= y and (a, b) != (x, y) for a, b in found)
    }


@settings(max_examples=12, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0.5, 0.8, 1.0, 1.25, 1.6, 2.0, 3.0]), st.integers(0, 40)),
        min_size=1,
        max_size=9,
    ),
    st.integers(0, 40),
)
def test_the_line_joins_the_pareto_front(found: list[tuple[float, int]], dense: int) -> None:
    made = [replace(DENSE, right=dense)] + [
        replace(DENSE, criterion="l1", ratio=0.5, place=n, right=right, speedup=speed)
        for n, (speed, right) in enumerate(found, 1)
    ]
    chart = tradeoff(experiments(tables(entries_of_files(SMALL, made))))
    assert chart is not None
    drawn = scene(chart)
    (line,) = marks(drawn, "line")
    # A pixel to the right is faster, one further up is more accurate.
    shown = {(x, -y) for x, y in map(place, points(drawn))}
    assert {(x, -y) for x, y in map(place, line)} == best(shown)
    assert len(points(drawn)) == len(made)


def test_every_point_says_what_the_records_say() -> None:
    entries = sweep_entries(SMALL)
    (table,) = tables(entries)
    told = [item["description"] for item in points(scene(chart_of(SMALL)))]
    assert len(told) == len(table.rows)
    for row in table.rows:
        assert row.held_out is not None
        (text,) = [t for t in told if f"file: {row.subject.label};" in t]
        assert f"held out, %: {100 * row.held_out.accuracy:.1f};" in text
        assert f"from: {100 * row.held_out.interval.low:.1f};" in text
        assert f"to: {100 * row.held_out.interval.high:.1f};" in text
        for cell in row.speed.values():
            i = cell.interval
            assert f"speedup: {i.estimate:.2f}; from : {i.low:.2f}; to : {i.high:.2f};" in text


def test_bars_reach_from_limit_to_limit_both_ways() -> None:
    drawn = scene(chart_of(SMALL))
    bars = [item for mark in marks(drawn, "rule") for item in mark if "criterion" in str(item)]
    pruned = [p for p in points(drawn) if "criterion: dense" not in p["description"]]
    for point in pruned:
        x, y = point["x"], point["y"]
        across = [b for b in bars if b["y"] == pytest.approx(y) and b.get("x2") is not None]
        upward = [b for b in bars if b["x"] == pytest.approx(x) and b.get("y2") is not None]
        assert any(min(b["x"], b["x2"]) < x < max(b["x"], b["x2"]) for b in across)
        assert any(min(b["y"], b["y2"]) < y < max(b["y"], b["y2"]) for b in upward)


WIDE = replace(
    SMALL,
    batches=(1, 8),
    executed=(("onnxruntime", "fp32"), ("openvino", "fp32"), ("openvino", "int8")),
    rankings=("global", "local"),
    ratios=(0.5,),
)


@pytest.mark.parametrize(
    ("chosen", "count"),
    [
        ({}, 3 * 5),  # the smallest batch size; dense, two criteria by two rankings, three files
        ({"batch": 8}, 3 * 5),
        ({"batch": None}, 2 * 3 * 5),
        ({"runtime": "openvino, cpu"}, 2 * 5),
        ({"precision": "onnx int8"}, 5),
        ({"runtime": "onnxruntime, cpu", "precision": "onnx int8"}, 0),
        ({"criterion": "l1"}, 3 * 3),
        ({"ranking": "local"}, 3 * 3),
        ({"criterion": "taylor", "ranking": "global", "runtime": "onnxruntime, cpu"}, 2),
        ({"axis": COUNTED, "batch": 8}, 3 * 5),
    ],
)
def test_the_lists_choose_what_is_drawn(chosen: dict[str, object], count: int) -> None:
    assert len(points(scene(chart_of(WIDE), **chosen))) == count


def test_without_a_latency_macs_are_counted_and_the_batch_has_no_list() -> None:
    chart = chart_of(replace(SMALL, batches=()))
    assert [param["name"] for param in chart.spec["params"]] == [
        *("experiment", "runtime", "precision", "criterion", "ranking", "axis")
    ]
    drawn = scene(chart)
    assert len(points(drawn)) == 7
    assert COUNTED in texts_of(drawn) and MEASURED not in texts_of(drawn)


def test_without_an_accuracy_there_is_nothing_to_draw() -> None:
    assert tradeoff(experiments(tables(sweep_entries(replace(SMALL, judged=False))))) is None


def test_the_first_sight_is_of_an_experiment_that_was_timed() -> None:
    untimed = sweep_entries(replace(SMALL, batches=(), data="another", criteria=("l1",)))
    entries = [*untimed, *sweep_entries(SMALL)]
    chart = tradeoff(experiments(tables(entries)))
    assert chart is not None
    assert tables(entries)[0].batch_sizes == ()  # the one without a latency comes first
    assert len(points(scene(chart))) == 7


def test_a_single_round_has_no_limits_and_is_drawn_all_the_same() -> None:
    drawn = scene(chart_of(replace(SMALL, rounds=1, ratios=(0.5,))))
    assert len(points(drawn)) == 3
    assert "Infinity" not in str(drawn) and "NaN" not in str(drawn)
