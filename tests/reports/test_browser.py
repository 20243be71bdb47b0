"""The page in a real Chromium, used as a reader uses it."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dgprune.records import AccuracyRecord, read_records
from reports.measured_files import short_ids
from reports.report import report
from reports.rows import Row, Table, tables
from reports.summary import percent
from tests.fakes.browser import PHONE, Sight, launch, sight
from tests.fakes.stored_runs import store_run
from tests.fakes.sweep_files import Sweep, files
from tests.fakes.sweeps import profile_of, sweep_records, write_records

EVIL = "<script>alert(1)</script>"
SMALL = Sweep(rounds=3, calls=2, depth=2, ratios=(0.5,))
RICH = Sweep(
    targets=("b", "c"),
    seeds=(0, 1),
    criteria=("l1", "taylor"),
    rankings=("global", "local"),
    ratios=(0.25, 0.75),
    executed=(("onnxruntime", "fp32"), ("openvino", "fp32"), ("openvino", "int8")),
    batches=(1, 8),
    depth=3,
    images=80,
)
CHARTS = (
    *("tradeoff", "batch-sweep", "domains", "kept", "speedup-parts", "distributions"),
    *("layer-kinds", "history-1"),
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    yield from launch()


def page_of(sweep: Sweep, folder: Path, *, profiled: bool = False) -> Path:
    records = sweep_records(sweep)
    if profiled:
        records += [profile_of(sweep, file) for file in files(sweep) if file.criterion][:2]
    return report([write_records(folder / "records.jsonl", records)], folder / "out").path


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rich")
    for day, commit in enumerate(("a1", "b2", "c3"), 1):
        store_run(folder / "stored", commit, day)
    records = sweep_records(RICH)
    records += [profile_of(RICH, file) for file in files(RICH) if file.criterion][:2]
    file = write_records(folder / "records.jsonl", records)
    return report([file], folder / "out", history=folder / "stored").path


@pytest.fixture(scope="module")
def wide(browser: Any, rich: Path) -> Iterator[Sight]:
    with sight(browser, rich) as seen:
        yield seen


@pytest.fixture(scope="module")
def found(rich: Path) -> tuple[Table, ...]:
    return tables(read_records(rich.parent / "records.jsonl"))


def states(seen: Sight) -> dict[str, str]:
    return dict(
        seen.page.eval_on_selector_all("figure.chart", "fs => fs.map(f => [f.id, f.dataset.state])")
    )


def test_every_chart_is_drawn_without_a_word_to_the_console_or_the_network(wide: Sight) -> None:
    assert states(wide) == dict.fromkeys(CHARTS, "drawn")
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


CONTRAST = """
() => {
  const luminance = (c) => {
    const [r, g, b] = c.match(/[\\d.]+/g).map(Number).map((v) => {
      const s = v / 255; return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = (e) => { for (let p = e; p; p = p.parentElement) {
      const c = getComputedStyle(p).backgroundColor;
      if (c !== "rgba(0, 0, 0, 0)" && c !== "transparent") return c; }
    return "rgb(255, 255, 255)"; };
  const ratio = (a, b) => {
    const [x, y] = [luminance(a), luminance(b)].sort((m, n) => m - n);
    return (y + 0.05) / (x + 0.05); };
  const found = [];
  for (const e of document.querySelectorAll("body *:not(script):not(style)")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility()) continue;
    const style = getComputedStyle(e);
    const isDrawn = e instanceof SVGElement;
    if (isDrawn && e.closest(".mark-text.role-mark")) continue;  // on cells: tested by charts
    const back = isDrawn ? behind(e.ownerSVGElement) : behind(e);
    const worst = ratio(isDrawn ? style.fill : style.color, back);
    if (worst < 4.5) found.push([e.tagName, e.textContent.slice(0, 40), style.color, worst]);
  }
  return found;
}
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_in_dark(browser: Any, rich: Path, scheme: str) -> None:
    with sight(browser, rich, color_scheme=scheme) as seen:
        page = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
        light = sum(map(int, re.findall(r"\d+", page)))
        assert (light > 600) is (scheme == "light")
        assert seen.page.evaluate(CONTRAST) == []
        drawn = seen.page.eval_on_selector_all(
            ".role-legend-symbol path", "ps => ps.map(p => [getComputedStyle(p).fill, p.outerHTML])"
        )
        ink = "rgb(0, 0, 0)"  # what the library draws by itself, invisible in the dark
        assert drawn and not [html for fill, html in drawn if fill == ink]
        assert seen.messages == []


def test_a_phone_scrolls_up_and_down_only(browser: Any, rich: Path) -> None:
    with sight(browser, rich, viewport=PHONE) as seen:
        page = seen.page
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        for chart in CHARTS:
            plot = page.locator(f"#{chart} .mark-group.role-frame > g > .background").first
            box = plot.bounding_box()
            assert box is not None and box["width"] > 150, chart  # not all of it is labels
        assert seen.messages == []


def test_paper_is_light_shows_everything_and_no_lists(browser: Any, tmp_path: Path) -> None:
    many = replace(SMALL, targets=("a", "b", "c"), executed=(("x", "fp32"), ("y", "fp32")))
    with sight(browser, page_of(many, tmp_path), color_scheme="dark") as seen:
        page = seen.page
        assert page.locator("#experiments details[open]").count() == 0  # many: folded on a screen
        page.emulate_media(media="print")
        assert (
            page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        )
        assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
        assert not page.locator(".lists").first.is_visible()
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        assert page.locator("#experiments details[open]").count() == 6
        over = "es => es.filter(e => e.scrollWidth > e.clientWidth + 1).length"
        page.set_viewport_size({"width": 794, "height": 1123})
        assert page.eval_on_selector_all(".plot", over) == 0
        page.evaluate("window.dispatchEvent(new Event('afterprint'))")
        assert page.locator("#experiments details[open]").count() == 0
        assert page.pdf()[:5] == b"%PDF-"


def test_text_from_records_does_no_harm(browser: Any, tmp_path: Path) -> None:
    evil = Sweep(
        **{"model": EVIL, "data": EVIL, "domains": ("a", EVIL), "targets": (EVIL,)},
        **{"criteria": (EVIL,), "rankings": (EVIL,), "executed": ((EVIL, EVIL),)},
        **{"label": EVIL, "ratios": (0.5,), "rounds": 3, "calls": 2, "depth": 2},
    )
    with sight(browser, page_of(evil, tmp_path, profiled=True)) as seen:
        assert set(states(seen).values()) == {"drawn"} and len(states(seen)) == 7
        assert seen.dialogs == [] and seen.messages == [] and seen.requests == []
        assert EVIL in seen.page.locator("#summary").inner_text()
        assert any(EVIL in text for text in seen.page.locator("h2").all_inner_texts())
        assert EVIL in seen.options("tradeoff", "criterion")
        seen.choose("tradeoff", "criterion", EVIL)
        assert {m["criterion"] for m in seen.marks("tradeoff", "symbol")} == {"dense", EVIL}
        point = seen.page.locator("#tradeoff .mark-symbol.role-mark > path").last
        point.hover(force=True)
        tip = seen.page.locator("#vg-tooltip-element.visible")
        tip.wait_for(timeout=5000)
        assert EVIL in tip.inner_text()
        assert tip.locator("script").count() == 0
        assert seen.dialogs == []


@pytest.mark.parametrize(
    ("sweep", "charts"),
    [
        (replace(SMALL, criteria=(), batches=()), {"tradeoff", "domains"}),
        (replace(SMALL, judged=False, batches=(1,)), {"kept", "speedup-parts", "distributions"}),
        (replace(SMALL, rounds=1, calls=1, criteria=("l1",)), set(CHARTS[:6])),
        (
            replace(SMALL, batches=(1,), calls=1, domains=("c",), criteria=("l1",),
                    ratios=tuple(n / 1200 for n in range(1, 1001))),
            set(CHARTS[:6]) - {"batch-sweep"},
        ),
    ],
    ids=["one point", "latency only", "one round", "a thousand points"],
)  # fmt: skip
def test_few_and_many_records_are_drawn(
    browser: Any, tmp_path: Path, sweep: Sweep, charts: set[str]
) -> None:
    with sight(browser, page_of(sweep, tmp_path)) as seen:
        assert states(seen) == dict.fromkeys(charts, "drawn")
        assert seen.messages == []
        for chart in charts:
            assert seen.page.locator(f"#{chart} .nothing").inner_text() == ""


def test_very_long_names_leave_room_for_the_plot(browser: Any, tmp_path: Path) -> None:
    long = "a-name-that-no-screen-is-wide-enough-for-" * 6
    sweep = replace(SMALL, label=long + "{criterion}", domains=(long, "c"), model=long, data=long)
    page = page_of(sweep, tmp_path, profiled=True)
    for viewport in (None, PHONE):
        with sight(browser, page, **({"viewport": viewport} if viewport else {})) as seen:
            assert set(states(seen).values()) == {"drawn"} and seen.messages == []
            width = seen.page.evaluate("innerWidth")
            assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
