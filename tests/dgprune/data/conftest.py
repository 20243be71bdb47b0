"""A folder of three domains of twenty images, and a cache of its own for each test."""

from pathlib import Path

import pytest

from tests.conftest import make_folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "photos", images=10)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DGPRUNE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
