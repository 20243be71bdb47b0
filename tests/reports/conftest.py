"""Pages of reports to open in a browser, and the browser, one for all tests."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reports.report import report
from tests.fakes.browser import launch
from tests.fakes.browser_pages import RICH, with_profiles
from tests.fakes.stored_runs import store_run
from tests.fakes.sweeps import write_records


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    yield from launch()


@pytest.fixture(scope="session")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a sweep of everything, with profiles and a history."""
    folder = tmp_path_factory.mktemp("rich")
    for day, commit in enumerate(("a1", "b2", "c3"), 1):
        store_run(folder / "stored", commit, day)
    file = write_records(folder / "records.jsonl", with_profiles(RICH))
    return report([file], folder / "out", history=folder / "stored").path
