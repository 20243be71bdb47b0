"""The table `files`: one row a measured file and runtime."""

from collections.abc import Callable
from typing import Any

from dgprune.lineage import spec_of
from dgprune.statistics import Interval
from reports.data.columns import (
    Column,
    DataTable,
    Value,
    count,
    data_table,
    number,
    runtime_columns,
    subject_columns,
    text,
)
from reports.data.facts import Facts, FileFacts
from reports.setting import seed_of

# One kind of held-out images a column: numbers of two kinds are not to be averaged.
_HELD_OUT = {
    "unseen_accuracy": "share of the unseen domain's images whose top-1 class is right",
    "in_domain_test_accuracy": "the same share of in-domain test images (protocol paper-like)",
    "oracle_accuracy": "the same share of held-out images that chose the weights: too high",
}


def files_table(facts: Facts) -> DataTable:
    """Every file as the report's main tables show it."""
    about = "one row a measured file and runtime"
    return data_table("files", about, _columns(), facts.files)


def _columns() -> tuple[Column[FileFacts], ...]:
    return (
        text("name", "what the report calls it", lambda f: f.table.names[f.row.subject.sha256]),
        *subject_columns(lambda f: f.row.subject),
        *runtime_columns(lambda f: f.runtime),
        *_pruning(),
        count("macs_per_image", "multiply-accumulates an image", _macs),
        count("params", "weights and biases", lambda f: f.row.cost.parameters),
        count("size_bytes", "size of the file", lambda f: f.row.subject.size_bytes),
        *(column for key, about in _HELD_OUT.items() for column in _held_out(key, about)),
        number(
            "source_val_accuracy",
            "mean over the source domains' validation images",
            lambda f: f.row.source_accuracy,
        ),
        text("record_ids", "ids of all its records", lambda f: " ".join(f.record_ids)),
        text("data_sha256", "digest of the data", lambda f: f.row.subject.origin.data_digest),
        text("split_sha256", "digest of the split", lambda f: f.row.subject.origin.split_digest),
    )


def _pruning() -> tuple[Column[FileFacts], ...]:
    return (
        text("engine", "what pruned it; none where it is dense", _engine),
        text("criterion", "what was pruned by; `dense` is not pruned", _criterion),
        text("ranking", "over what units are ranked", lambda f: _asked(f, "ranking")),
        text("budget", "what had to be met", lambda f: f.row.budget[0]),
        number(
            "budget_value",
            "ratio: the share to go; macs, params: the share to stay; speedup: the factor",
            lambda f: f.row.budget[1] if f.row.budget[0] not in ("", "plan") else None,
        ),
        text("seed", "seed of its training", lambda f: seed_of(f.row.subject)),
    )


def _macs(fact: FileFacts) -> int:
    return fact.row.cost.macs_per_image


def _asked(fact: FileFacts, option: str) -> str | None:
    value: Any = (spec_of(fact.row.subject.lineage, "prune") or {}).get(option)
    return None if value is None else str(value)


def _engine(fact: FileFacts) -> str | None:
    pruned = spec_of(fact.row.subject.lineage, "prune")
    return (_asked(fact, "engine") or "dgprune") if pruned else None


def _criterion(fact: FileFacts) -> str | None:
    dense = fact.row.criterion == "dense"
    return "dense" if dense else _asked(fact, "criterion")


def _held_out(key: str, about: str) -> tuple[Column[FileFacts], ...]:
    def limit(of: Callable[[Interval], float]) -> Callable[[FileFacts], Value]:
        def value(fact: FileFacts) -> Value:
            held_out = fact.row.held_out
            if held_out is None or fact.table.setting.key != key:
                return None
            return of(held_out.interval)

        return value

    return (
        number(key, about, limit(lambda interval: interval.estimate)),
        number(f"{key}_low", "its lower 95 % limit (Wilson)", limit(lambda i: i.low)),
        number(f"{key}_high", "its upper 95 % limit (Wilson)", limit(lambda i: i.high)),
    )
