"""The harness beside other tools: its side of the comparison runs and gives medians in ms."""

import time
from typing import Any

import pytest

from tests.benchmarks import agreement

SLEEP_S = 0.002


class Sleeper:
    """Stands for a runtime whose call takes a known time at least."""

    def infer(self, index: int) -> None:
        time.sleep(SLEEP_S)


def test_every_block_of_the_harness_has_a_median(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "SECONDS", 0.35)
    runtime: Any = Sleeper()
    found = agreement._medians(agreement._harness(runtime))
    assert len(found) == 3
    assert min(found) >= 1e3 * SLEEP_S
