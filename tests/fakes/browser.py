"""A page of a report in a real Chromium, and everything that it says, asks for and pops up."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
# Runs as root in containers; the rest is what a browser asks the network for by itself.
_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
_ALL_DRAWN = "[...document.querySelectorAll('figure.chart')].every(f => f.dataset.state)"
WIDE, PHONE = {"width": 1280, "height": 1000}, {"width": 390, "height": 844}


@dataclass
class Sight:
    """An opened page: console lines, errors, requests other than for itself, and dialogs."""

    page: Any
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    @property
    def states(self) -> dict[str, str]:
        """What became of every chart."""
        told = "figures => figures.map(figure => [figure.id, figure.dataset.state])"
        return dict(self.page.eval_on_selector_all("figure.chart", told))

    def choose(self, chart: str, name: str, label: str) -> None:
        """Picks an entry of a drop-down list as a person does, and waits for the picture."""
        self.page.locator(f"#{chart} .lists select[name={name}]").select_option(label=label)
        self.page.evaluate("chart => window.dgpruneViews[chart].runAsync().then(() => 0)", chart)

    def options(self, chart: str, name: str) -> list[str]:
        """The entries of a drop-down list."""
        found = self.page.locator(f"#{chart} .lists select[name={name}] option").all_inner_texts()
        return list(map(str, found))

    def marks(self, chart: str, kind: str) -> list[dict[str, str]]:
        """What a screen reader is told of every mark of one kind, mark by mark."""
        texts = self.page.locator(f"#{chart} .mark-{kind}.role-mark > [aria-label]").evaluate_all(
            "marks => marks.map(mark => mark.getAttribute('aria-label'))"
        )
        return [dict(part.split(": ", 1) for part in text.split("; ")) for text in texts]


def launch() -> Iterator[Any]:
    """A browser; skips where there is none, or nothing to drive it with."""
    drivers = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.skip(f"none of {', '.join(_NAMES)} is on the PATH")
    with drivers.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=list(_FLAGS))
        yield browser
        browser.close()


@contextmanager
def sight(browser: Any, path: Path, **options: Any) -> Iterator[Sight]:
    """The page at `path`, opened from disk, once all its charts are drawn or have failed."""
    page = browser.new_page(**{"viewport": WIDE, **options})
    seen = Sight(page=page)
    page.on("console", lambda message: seen.messages.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: seen.messages.append(f"error: {error}"))
    page.on("request", lambda request: seen.requests.append(request.url))
    page.on("dialog", lambda dialog: (seen.dialogs.append(dialog.message), dialog.dismiss()))
    page.goto(path.absolute().as_uri())
    page.wait_for_function(_ALL_DRAWN, timeout=60_000)
    seen.requests = [url for url in seen.requests if url != path.absolute().as_uri()]
    yield seen
    page.close()
