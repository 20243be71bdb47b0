"""The table `latency`: one row a latency record."""

from collections.abc import Callable

from dgprune.statistics import Interval, median_latency_s, samples_ns
from dgprune.timing import Arm
from reports.data.columns import (
    Column,
    DataTable,
    Value,
    count,
    data_table,
    flag,
    number,
    runtime_columns,
    subject_columns,
    text,
)
from reports.data.facts import Facts, LatencyFacts
from reports.times import as_json


def latency_table(facts: Facts) -> DataTable:
    """Every latency record: two files (or one) at one batch size."""
    about = "one row a latency record: a file beside its baseline at one batch size"
    return data_table("latency", about, _columns(), facts.latency)


def _columns() -> tuple[Column[LatencyFacts], ...]:
    return (
        text("record_id", "id of the record", lambda f: f.id),
        *subject_columns(lambda f: f.record.subject),
        *runtime_columns(lambda f: f.record.runtime),
        text("baseline_label", "the file it was timed against", lambda f: _baseline(f, "label")),
        text("baseline_sha256", "digest of that file", lambda f: _baseline(f, "sha256")),
        text("varies", "in what the two differ", lambda f: f.record.varies),
        flag("is_control", "true where a file was timed against itself", _is_control),
        flag("is_shown", "false where the report's main tables leave it out", lambda f: f.is_shown),
        text("tier", "how long was measured", lambda f: f.record.spec.tier),
        count("batch_size", "images a call", lambda f: f.record.batch_size),
        count("processes", "processes that timed both", lambda f: len(f.record.replicas)),
        count("samples", "calls of the file that count", lambda f: f.samples),
        number("latency_s", "median of a call", lambda f: latency_s(f, "candidate")),
        number("latency_p90_s", "nine of ten calls are as fast", lambda f: f.tails_s.get(0.9)),
        number("latency_p99_s", "99 of 100 calls are as fast", lambda f: f.tails_s.get(0.99)),
        number("baseline_latency_s", "median of the baseline", lambda f: latency_s(f, "baseline")),
        *_limits("speedup", "over the baseline", lambda f: f.cell.interval if f.cell else None),
        text("verdict", "what may be said", lambda f: f.cell.verdict.value if f.cell else None),
        text("doubts", "what must be known", lambda f: "; ".join(f.cell.doubts) if f.cell else ""),
        text("control_record_id", "its A/A control", lambda f: f.control_id),
        *_limits("control_ratio", "the baseline over itself", lambda f: f.control),
        text("cpu", "the machine's processor", lambda f: f.record.environment.cpu),
        text("device", "its accelerator", _device),
    )


def _limits(
    name: str, about: str, of: Callable[[LatencyFacts], Interval | None]
) -> tuple[Column[LatencyFacts], ...]:
    def limit(which: str) -> Callable[[LatencyFacts], Value]:
        def value(fact: LatencyFacts) -> float | None:
            interval = of(fact)
            return None if interval is None else as_json(interval)[which]

        return value

    return (
        number(name, about, limit("estimate")),
        number(f"{name}_low", "its lower 95 % limit", limit("low")),
        number(f"{name}_high", "its upper 95 % limit", limit("high")),
    )


def latency_s(fact: LatencyFacts, arm: Arm) -> float | None:
    """Median of one call; None where none counts, or there was no such arm."""
    if fact.cell is not None:
        return fact.cell.latency_s if arm == "candidate" else fact.cell.baseline_latency_s
    return median_latency_s(fact.record, arm) if samples_ns(fact.record, arm) else None


def _is_control(fact: LatencyFacts) -> bool:
    return fact.record.is_control


def _baseline(fact: LatencyFacts, name: str) -> Value:
    return None if fact.record.baseline is None else str(getattr(fact.record.baseline, name))


def _device(fact: LatencyFacts) -> str | None:
    device = fact.record.environment.device
    return device.name if device else None
