"""A ratio of speeds as text and as JSON: where it has no limits, dashes or null stand for them."""

from dgprune.judgement import limits_of
from dgprune.schema import Json
from dgprune.statistics import Interval, Verdict
from reports.section import DASH
from reports.speed import SpeedCell


def times(interval: Interval | None) -> str:
    """Such as `2.30x [2.10, 2.50]`; a dash where there is none."""
    return DASH if interval is None else f"{interval.estimate:.2f}x {limits(interval)}"


def judged(cell: SpeedCell) -> str:
    """A speedup with its limits, and its verdict where that is not `faster`."""
    return f"{times(cell.interval)}{mark(cell.verdict.value)}"


def mark(verdict: str) -> str:
    """The verdict behind a speedup; `faster` is what a reader takes it for."""
    return "" if verdict == Verdict.FASTER.value else f" ({verdict})"


def limits(interval: Interval) -> str:
    """Such as `[2.10, 2.50]`."""
    low, high = limits_of(interval)
    return f"[{_number(low, 2)}, {_number(high, 2)}]"


def between(interval: Interval, digits: int = 2) -> str:
    """Such as `2.10 to 2.50`; one dash where there are no limits."""
    low, high = limits_of(interval)
    return DASH if low is None else f"{_number(low, digits)} to {_number(high, digits)}"


def as_json(interval: Interval) -> Json:
    """An estimate with its limits: JSON has no infinity."""
    low, high = limits_of(interval)
    return {"low": low, "estimate": interval.estimate, "high": high}


def _number(limit: float | None, digits: int) -> str:
    return DASH if limit is None else f"{limit:.{digits}f}"
