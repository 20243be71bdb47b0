"""The page in a real Chromium, used as a reader uses it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dgprune.records import AccuracyRecord, read_records
from reports.measured_files import short_ids
from reports.rows import Row, Table, tables
from reports.summary import percent
from tests.fakes.browser import Sight, sight
from tests.fakes.browser_pages import CHARTS, RICH


@pytest.fixture(scope="module")
def wide(browser: Any, rich: Path) -> Iterator[Sight]:
    with sight(browser, rich) as seen:
        yield seen


@pytest.fixture(scope="module")
def found(rich: Path) -> tuple[Table, ...]:
    return tables(read_records(rich.parent / "records.jsonl"))


def test_every_chart_is_drawn_without_a_word_to_the_console_or_the_network(wide: Sight) -> None:
    assert wide.states == dict.fromkeys(CHARTS, "drawn")
    assert wide.messages == []
    assert wide.requests == []
    for chart in CHARTS:
        assert wide.page.locator(f"#{chart} svg.marks").count() == 1
        assert wide.page.locator(f"#{chart} .nothing").inner_text() == ""


LISTS = {"runtime": "runtime", "precision": "precision", "ranking": "ranking", "batch": "batch"}


@pytest.mark.parametrize("name", ["criterion", *LISTS])
def test_every_list_of_the_tradeoff_shows_what_it_says(
    wide: Sight, found: tuple[Table, ...], name: str
) -> None:
    wide.choose("tradeoff", "batch", "all")
    try:
        for label in wide.options("tradeoff", name):
            wide.choose("tradeoff", name, label)
            assert shown(wide) == expected(found, {name: label}), label
    finally:
        for each in ("criterion", *LISTS):
            wide.choose("tradeoff", each, "all")


Point = tuple[str, str, str, str, str, str]


def shown(seen: Sight) -> list[Point]:
    keys = ("file", "runtime", "precision", "batch", "held out, %", "speedup")
    return sorted(tuple(mark[key] for key in keys) for mark in seen.marks("tradeoff", "symbol"))  # type: ignore[misc]


def expected(found: tuple[Table, ...], chosen: dict[str, str]) -> list[Point]:
    """The points that a reader must see, from the tables of the first experiment."""
    first = [t for t in found if t.setting == found[0].setting]
    points = []
    for table in first:
        for row in table.rows:
            for batch, speed in speeds(row, table):
                facts = {
                    "criterion": row.criterion.split()[0],
                    "runtime": f"{table.runtime.name}, {table.runtime.provider}",
                    "precision": table.form,
                    "ranking": "local" if "local" in row.criterion else "global",
                    "batch": str(batch),
                }
                free = {"criterion", "ranking"} if row.criterion == "dense" else set()
                wanted = {k: v for k, v in chosen.items() if v != "all" and k not in free}
                if all(facts[key] == value for key, value in wanted.items()):
                    assert row.held_out is not None
                    name, accuracy = table.names[row.subject.sha256], row.held_out.accuracy
                    told = percent(accuracy).removesuffix(" %")
                    points.append((name, facts["runtime"], table.form, str(batch), told, speed))
    return sorted(points)


def speeds(row: Row, table: Table) -> list[tuple[int, str]]:
    if row.criterion == "dense":
        return [(size, "1.00") for size in table.batch_sizes]
    return [(size, f"{cell.interval.estimate:.2f}") for size, cell in row.speed.items()]


def test_another_experiment_shows_other_files_and_axes_can_be_changed(
    wide: Sight, found: tuple[Table, ...]
) -> None:
    first, second = wide.options("tradeoff", "experiment")
    before = wide.marks("tradeoff", "symbol")
    wide.choose("tradeoff", "experiment", second)
    after = wide.marks("tradeoff", "symbol")
    wide.choose("tradeoff", "experiment", first)
    assert len(after) == len(before) and after != before
    wide.choose("tradeoff", "axis", "reduction of MACs over dense")
    counted = wide.marks("tradeoff", "symbol")
    wide.choose("tradeoff", "axis", "measured speedup over dense")
    assert {mark["x"] for mark in counted} != {mark["x"] for mark in before}


def test_a_choice_of_what_was_not_measured_says_so(wide: Sight) -> None:
    note = wide.page.locator("#tradeoff .nothing")
    wide.choose("tradeoff", "runtime", "onnxruntime, cpu")
    wide.choose("tradeoff", "precision", "onnx int8")
    assert note.inner_text() == "Nothing was measured for this choice."
    assert note.get_attribute("role") == "status"
    wide.choose("tradeoff", "precision", "all")
    assert note.inner_text() == ""
    wide.choose("tradeoff", "runtime", "all")


def test_every_file_of_the_other_lists_can_be_drawn(wide: Sight, found: tuple[Table, ...]) -> None:
    for label in wide.options("distributions", "file")[:4]:
        wide.choose("distributions", "file", label)
        assert {m["file"] for m in wide.marks("distributions", "symbol")} == {"dense", "pruned"}
    for label in wide.options("kept", "file")[:4]:
        wide.choose("kept", "file", label)
        assert len(wide.marks("kept", "rect")) == 4 * RICH.depth
    for measure in wide.options("batch-sweep", "measure"):
        wide.choose("batch-sweep", "measure", measure)
        assert wide.marks("batch-sweep", "symbol")


def test_the_numbers_in_tables_are_those_of_the_records(wide: Sight, rich: Path) -> None:
    entries = read_records(rich.parent / "records.jsonl")
    told = dict(
        wide.page.eval_on_selector_all(".records tr[id]", "rs => rs.map(r => [r.id, r.innerText])")
    )
    assert len(told) == len(entries)
    ids = short_ids(entries)
    for entry in entries:
        text = told[f"r-{ids[entry.id]}"]
        assert text.split()[0] and entry.id.startswith(text.split()[0])
        if isinstance(entry.record, AccuracyRecord):
            assert f"{entry.record.correct} of {entry.record.images}" in text


def test_pointing_at_a_file_shows_its_numbers(wide: Sight) -> None:
    point = wide.page.locator("#tradeoff .mark-symbol.role-mark > path").last
    label = point.get_attribute("aria-label")
    point.scroll_into_view_if_needed()
    point.hover(force=True)
    tip = wide.page.locator("#vg-tooltip-element.visible")
    tip.wait_for(timeout=5000)
    told = re.search(r"speedup: ([\d.]+)", str(label))
    assert told is not None and told.group(1) in tip.inner_text()


def test_the_keyboard_reaches_every_list_and_changes_it(wide: Sight) -> None:
    page = wide.page
    page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
    reached: set[str] = set()
    for _ in range(500):
        page.keyboard.press("Tab")
        where = page.evaluate(
            "(a => a.tagName === 'SELECT' ? a.closest('figure').id + ' ' + a.name : a.tagName)"
            "(document.activeElement)"
        )
        reached.add(str(where))
        if where == "tradeoff criterion":
            page.keyboard.press("ArrowDown")
        if where == "BODY" and len(reached) > 5:
            break
    names = page.eval_on_selector_all(
        ".lists select", "ss => ss.map(s => s.closest('figure').id + ' ' + s.name)"
    )
    assert set(names) <= reached
    assert page.eval_on_selector("#tradeoff select[name=criterion]", "s => s.selectedIndex") == 1
    wide.choose("tradeoff", "criterion", "all")


def test_every_list_and_plot_has_a_name_for_a_screen_reader(wide: Sight) -> None:
    page = wide.page
    assert page.locator(".lists select").count() > 15
    unnamed = page.eval_on_selector_all(
        ".lists select", "ss => ss.filter(s => !s.labels.length || !s.labels[0].innerText.trim())"
    )
    assert unnamed == []
    for chart in CHARTS:
        assert page.locator(f"#{chart} [role=graphics-document]").count() == 1
        assert page.locator(f"#{chart} .plot").get_attribute("aria-label")
    levels = page.eval_on_selector_all("h1,h2,h3,h4", "hs => hs.map(h => +h.tagName[1])")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in zip(levels, levels[1:], strict=False))
