"""The page in a real Chromium: in light and dark, on a phone, on paper, and of odd records."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.browser import PHONE, sight
from tests.fakes.browser_pages import CHARTS, SMALL, page_of
from tests.fakes.sweep_files import Sweep

EVIL = "<script>alert(1)</script>"

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
        model=EVIL,
        data=EVIL,
        domains=("a", EVIL),
        targets=(EVIL,),
        criteria=(EVIL,),
        rankings=(EVIL,),
        executed=((EVIL, EVIL),),
        label=EVIL,
        ratios=(0.5,),
        rounds=3,
        calls=2,
        depth=2,
    )
    with sight(browser, page_of(evil, tmp_path, profiled=True)) as seen:
        assert set(seen.states.values()) == {"drawn"} and len(seen.states) == 7
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
        assert seen.states == dict.fromkeys(charts, "drawn")
        assert seen.messages == []
        for chart in charts:
            assert seen.page.locator(f"#{chart} .nothing").inner_text() == ""


def test_very_long_names_leave_room_for_the_plot(browser: Any, tmp_path: Path) -> None:
    long = "a-name-that-no-screen-is-wide-enough-for-" * 6
    sweep = replace(SMALL, label=long + "{criterion}", domains=(long, "c"), model=long, data=long)
    page = page_of(sweep, tmp_path, profiled=True)
    for viewport in (None, PHONE):
        with sight(browser, page, **({"viewport": viewport} if viewport else {})) as seen:
            assert set(seen.states.values()) == {"drawn"} and seen.messages == []
            width = seen.page.evaluate("innerWidth")
            assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
