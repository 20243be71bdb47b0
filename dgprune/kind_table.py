"""A profile as a table: one row a kind of node, and one of their sum."""

from collections.abc import Sequence
from dataclasses import dataclass

from dgprune.node_times import NodeTime, seconds_by_kind
from dgprune.records import ProfileRecord

SUM = "sum"


@dataclass(frozen=True, slots=True, kw_only=True)
class KindRow:
    """Time of one kind in both files; `share` is its part of the sum.

    `share_of_saving` is None where there is no baseline, or the candidate saves nothing at all.
    """

    kind: str
    candidate_s: float
    share: float
    baseline_s: float | None = None
    baseline_share: float | None = None
    share_of_saving: float | None = None

    @property
    def saved_s(self) -> float | None:
        """What the candidate takes less than the baseline; below 0 where it takes more."""
        return None if self.baseline_s is None else self.baseline_s - self.candidate_s


def kind_rows(record: ProfileRecord) -> list[KindRow]:
    """Rows of the kinds that take any time, in a fixed order; the last is their sum."""
    candidate, baseline = _with_sum(record.nodes), _with_sum(record.baseline_nodes)
    kinds = [kind for kind in candidate if candidate[kind] or baseline[kind]]
    if record.baseline is None:
        return [
            KindRow(kind=kind, candidate_s=candidate[kind], share=candidate[kind] / candidate[SUM])
            for kind in kinds
        ]
    saved_s = baseline[SUM] - candidate[SUM]
    return [
        KindRow(
            kind=kind,
            candidate_s=candidate[kind],
            share=candidate[kind] / candidate[SUM],
            baseline_s=baseline[kind],
            baseline_share=baseline[kind] / baseline[SUM],
            share_of_saving=(baseline[kind] - candidate[kind]) / saved_s if saved_s > 0 else None,
        )
        for kind in kinds
    ]


def _with_sum(nodes: Sequence[NodeTime]) -> dict[str, float]:
    times = seconds_by_kind(nodes)
    return {**dict(times.items()), SUM: sum(times.values())}


def header(candidate: str, baseline: str | None) -> list[str]:
    """Names of the columns of `cells`, for files of these labels."""
    if baseline is None:
        return ["kind", candidate, "share"]
    return ["kind", baseline, "share", candidate, "share", "saved", "of the saving"]


def cells(row: KindRow) -> list[str]:
    """A row for a person."""
    own = [_milliseconds(row.candidate_s), _percent(row.share)]
    if row.baseline_s is None:
        return [row.kind, *own]
    dense = [_milliseconds(row.baseline_s), _percent(row.baseline_share)]
    return [row.kind, *dense, *own, _milliseconds(row.saved_s), _percent(row.share_of_saving)]


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e3:.3f} ms"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"
