"""Every chart of every kind of records: drawn at first sight, right, and unharmed by text."""

import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from dgprune.records import Entry, LatencyRecord, RuntimeSpec
from reports.attribution import attributions
from reports.charts.chart import Chart
from reports.charts.charts import charts
from reports.rows import tables
from reports.setting import by_section
from reports.summary import percent
from tests.fakes.drawn import marks, scene, texts_of
from tests.fakes.sweep_files import Sweep, files
from tests.fakes.sweeps import as_entries, profile_of, sweep_entries

EVIL = "<script>alert(1)</script>\"'&,\n|"
SMALL = Sweep(rounds=3, calls=2, depth=2, ratios=(0.5,))
ALL = ["tradeoff", "batch-sweep", "domains", "kept", "speedup-parts", "distributions"]


def drawn(entries: Sequence[Entry]) -> dict[str, Chart]:
    attributed = {name: attributions(group) for name, group in by_section(entries).items()}
    return {chart.name: chart for chart in charts(tables(entries), entries, attributed)}


def profiles(sweep: Sweep, count: int = 2) -> list[Entry]:
    pruned = [file for file in files(sweep) if file.criterion]
    return as_entries([profile_of(sweep, file) for file in pruned[:count]], "profile")


def items(chart: Chart, kind: str, **chosen: object) -> list[Any]:
    return [item for mark in marks(scene(chart, **chosen), kind) for item in mark]


def held(item: Any) -> dict[str, str]:
    """What a screen reader is told of a mark."""
    return dict(part.split(": ", 1) for part in item["description"].split("; "))


@pytest.mark.parametrize(
    ("sweep", "names"),
    [
        (SMALL, ALL),
        (replace(SMALL, batches=()), ["tradeoff", "domains", "kept"]),
        (replace(SMALL, batches=(1,)), [name for name in ALL if name != "batch-sweep"]),
        (
            replace(SMALL, judged=False),
            [name for name in ALL if name not in ("tradeoff", "domains", "kept")] + ["kept"],
        ),
        (replace(SMALL, criteria=(), batches=()), ["tradeoff", "domains"]),
        (replace(SMALL, targets=("a", "b", "c"), seeds=(0, 1, 2)), ALL),
    ],
)
def test_what_was_measured_is_drawn_at_first_sight(sweep: Sweep, names: list[str]) -> None:
    found = drawn(sweep_entries(sweep))
    assert set(found) == set(names)
    for chart in found.values():
        seen = scene(chart)
        assert any(marks(seen, kind)[0] for kind in ("symbol", "rect") if marks(seen, kind)), chart


def test_first_sight_where_the_first_table_lacks_what_the_chart_is_about() -> None:
    untimed = sweep_entries(replace(SMALL, batches=(), data="another"))
    later = sweep_entries(replace(SMALL, batches=(8, 32)))
    for chart in drawn([*untimed, *later]).values():
        seen = scene(chart)
        assert any(marks(seen, kind)[0] for kind in ("symbol", "rect") if marks(seen, kind)), chart


def test_charts_say_the_same_of_the_same_records() -> None:
    first, again = (drawn(sweep_entries(SMALL)) for _ in range(2))
    assert first == again


def test_the_heat_map_prints_the_accuracies_of_the_table_and_frames_what_was_held_out() -> None:
    sweep = replace(SMALL, images=80)  # of 80, many per cents lie half-way between two tenths
    entries = sweep_entries(sweep)
    (table,) = tables(entries)
    seen = scene(drawn(entries)["domains"])
    cells, frames = marks(seen, "rect")
    told = {(c["file"], c["domain"]): c["accuracy, %"] for c in map(held, cells)}
    for row in table.rows:
        for domain, cell in row.accuracy.items():
            shown = told[table.names[row.subject.sha256], table.setting.of_domain(domain)]
            assert f"{shown} %" == percent(cell.record.accuracy)
            assert shown in texts_of(seen)
    assert len(told) == len(cells) == 9 and len(frames) == 3
    held_out = [c["x"] for c in cells if held(c)["domain"] == "c (unseen)"]
    assert {frame["x"] for frame in frames} == set(held_out)


def test_the_heat_map_can_be_read_everywhere() -> None:
    found = drawn(sweep_entries(replace(SMALL, images=100, ratios=(0.1, 0.4, 0.7, 1.0))))
    seen = scene(found["domains"])
    cells, _ = marks(seen, "rect")
    (texts,) = marks(seen, "text")
    for cell, text in zip(cells, texts, strict=True):
        assert contrast(cell["fill"], text["fill"]) >= 4.5, (cell["fill"], text)


def contrast(one: str, other: str) -> float:
    """WCAG 2.2."""
    dark, light = sorted(map(luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    if colour.startswith("#"):
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    else:
        channels = [int(x) / 255 for x in colour[4:-1].split(",")]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_300_rows_fit_into_a_heat_map() -> None:
    sweep = replace(SMALL, batches=(), ratios=tuple(n / 200 for n in range(1, 150)))
    chart = drawn(sweep_entries(sweep))["domains"]
    cells, _ = marks(scene(chart), "rect")
    assert len(cells) == 3 * 299
    assert len({cell["y"] for cell in cells}) == 299  # no row covers another


@pytest.mark.parametrize("measure", ["speedup over dense", "images per second"])
def test_curves_over_batches_are_those_of_the_records(measure: str) -> None:
    entries = sweep_entries(replace(SMALL, batches=(1, 4, 16)))
    (table,) = tables(entries)
    points = [held(p) for p in items(drawn(entries)["batch-sweep"], "symbol", measure=measure)]
    assert len(points) == 3 * 3  # dense and two files
    for row in table.rows:
        for size, cell in row.speed.items():
            (point,) = (
                p for p in points if (p["file"], p["batch"]) == (row.subject.label, str(size))
            )
            assert float(point["speedup"]) == pytest.approx(cell.interval.estimate, rel=5e-3)
            assert float(point["from"]) == pytest.approx(cell.interval.low, rel=5e-3)
            assert float(point["images/s"]) == pytest.approx(size / cell.latency_s, rel=5e-3)


def test_kept_structure_is_that_of_the_file() -> None:
    entries = sweep_entries(replace(SMALL, depth=4, ratios=(0.5, 0.75)))
    chart = drawn(entries)["kept"]
    (row,) = (row for row in tables(entries)[0].rows if row.subject.label == "taylor-75")
    labels = chart.spec["params"][1]["bind"]["labels"]
    found = {
        (bar["block"], bar["of"]): bar["kept"]
        for bar in map(held, items(chart, "rect", file=labels.index("taylor-75")))
    }
    assert len(found) == 4 * 4
    for place, block in enumerate(row.subject.structure.blocks, 1):
        assert found[str(place), "MLP"] == f"{block.mlp_hidden} of 768"
        assert found[str(place), "heads"] == f"{block.num_heads} of 3"
        assert found[str(place), "width"] == "192 of 192"


def test_distributions_are_quantiles_of_the_samples() -> None:
    sweep = replace(SMALL, calls=10, rounds=12)
    entries = sweep_entries(sweep)
    chart = drawn(entries)["distributions"]
    labels = chart.spec["params"][1]["bind"]["labels"]
    chosen = {"file": labels.index("taylor-50"), "batch": 8, "part": 1.0}
    points = [held(p) for p in items(chart, "symbol", **chosen)]
    (record,) = (
        e.record
        for e in entries
        if isinstance(e.record, LatencyRecord)
        and e.record.subject.label == "taylor-50"
        and e.record.batch_size == 8
    )
    for arm, name in (("baseline", "dense"), ("candidate", "pruned")):
        samples = sorted(ns / 1e6 for b in record.blocks if b.arm == arm for ns in b.durations_ns)
        curve = [p for p in points if p["file"] == name]
        assert len(curve) == 101
        wanted = {"0%": samples[0], "50%": statistics.median(samples), "100%": samples[-1]}
        for share, time_ms in wanted.items():
            (point,) = (p for p in curve if p["share of calls"] == share)
            assert float(point["ms a call at most"]) == pytest.approx(time_ms, rel=1e-3)


def parts(chart: Chart, **chosen: object) -> list[Any]:
    """The bars alone: ticks are rectangles too."""
    return [bar for bar in items(chart, "rect", **chosen) if "part" in held(bar)]


def test_parts_of_a_speedup_lie_end_to_end() -> None:
    entries = sweep_entries(replace(SMALL, criteria=("l1",), batches=(1,)))
    (pruned,) = (
        e.record for e in entries if isinstance(e.record, LatencyRecord) and not e.record.is_control
    )
    assert pruned.baseline is not None
    dense = replace(pruned, subject=pruned.baseline)
    elsewhere = RuntimeSpec(name="torch", provider="cpu", threads=1)
    more = as_entries([replace(dense, varies="runtime", baseline_runtime=elsewhere)], "more")
    chart = drawn([*entries, *more])["speedup-parts"]
    bars = parts(chart)
    assert [held(bar)["part"] for bar in bars] == ["pruning", "runtime"]
    first, second = bars
    assert first["x"] + first["width"] == pytest.approx(second["x"])
    speed = next(row for row in tables(entries)[0].rows if row.speed).speed[1]
    assert held(first)["times"] == f"{speed.interval.estimate:.2f}"


def test_parts_of_files_of_one_name_do_not_fall_on_each_other() -> None:
    sweep = replace(SMALL, label="the same", batches=(1,), targets=("a", "c"), seeds=(0, 1))
    chart = drawn(sweep_entries(sweep))["speedup-parts"]
    for experiment in (0, 1):
        bars = parts(chart, experiment=experiment)
        assert len(bars) == len({bar["y"] for bar in bars}) == 4


def test_time_by_layer_kind_is_not_added_up_over_files() -> None:
    sweep = replace(SMALL, label="the same")
    entries = profiles(sweep)
    bars = [held(bar) for bar in items(drawn(entries)["layer-kinds"], "rect")]
    by_file: dict[str, list[dict[str, str]]] = {}
    for bar in bars:
        by_file.setdefault(bar["file"], []).append(bar)
    assert len(by_file) == 4  # each file, and the dense one beside each
    for parts in by_file.values():
        assert len(parts) == len({part["what for"] for part in parts}) == 6
    dense = [parts for name, parts in by_file.items() if name.startswith("dense beside")]
    assert [sum(float(p["ms a call"]) for p in parts) for parts in dense] == pytest.approx([21] * 2)


def test_a_thousand_points_are_drawn() -> None:
    ratios = tuple(n / 1200 for n in range(1, 1001))
    sweep = replace(SMALL, domains=("c",), criteria=("l1",), batches=(1,), ratios=ratios, calls=1)
    found = drawn(sweep_entries(sweep))
    assert len(items(found["tradeoff"], "symbol")) == 1001
    assert len(parts(found["speedup-parts"])) == 1000


def test_text_is_drawn_as_text() -> None:
    sweep = replace(
        SMALL,
        model=EVIL,
        data=EVIL,
        domains=("a", EVIL),
        targets=(EVIL,),
        criteria=(EVIL,),
        rankings=(EVIL,),
        executed=((EVIL, EVIL),),
        label=EVIL.replace("{", "").replace("}", ""),
    )
    entries = [*sweep_entries(sweep), *profiles(sweep, 1)]
    found = drawn(entries)
    assert set(found) == {*ALL, "layer-kinds"}
    (point,) = (
        held(p) for p in items(found["tradeoff"], "symbol") if "criterion: dense" not in str(p)
    )
    assert point["file"] == EVIL and point["criterion"] == EVIL and point["ranking"] == EVIL
    domains = {
        held(cell)["domain"] for cell in items(found["domains"], "rect") if "file" in str(cell)
    }
    assert domains == {"a", f"{EVIL} (unseen)"}
