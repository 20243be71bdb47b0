"""Where a speedup comes from: runtime times precision times pruning, and the MACs beside it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dgprune.judgement import interval_of
from dgprune.records import Entry, LatencyRecord
from dgprune.statistics import Interval
from dgprune.structure import Structure, cost_of
from reports.section import Section

_FAR = 0.25  # how far the speedup may be from the MACs ratio before a reason is looked for
_HOST_BOUND = 0.8
_ALIGNED = 16


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """One pruned file: `pruning` over dense, and the gains of dense that come on top of it.

    `precision` is dense in this precision over dense in fp32, `runtime` dense here over dense
    elsewhere (`elsewhere` says where); None where nobody measured it.
    """

    record: LatencyRecord
    pruning: Interval
    precision: Interval | None
    runtime: Interval | None
    elsewhere: str
    macs_ratio: float

    @property
    def total(self) -> Interval:
        """The product of what was measured."""
        parts = [p for p in (self.pruning, self.precision, self.runtime) if p is not None]
        middle = math.prod(p.estimate for p in parts)
        reach = math.sqrt(sum(math.log(p.high / p.estimate) ** 2 for p in parts))
        return Interval(
            low=middle * math.exp(-reach), estimate=middle, high=middle * math.exp(reach)
        )

    @property
    def reasons(self) -> list[str]:
        """Why the speedup is far from the MACs ratio; empty where it is not."""
        if abs(self.pruning.estimate / self.macs_ratio - 1) <= _FAR:
            return []
        return _reasons(self.record) or ["what is no product of matrices did not shrink as much"]


def attributions(entries: Sequence[Entry]) -> list[Attribution]:
    """One a pruned file, runtime and batch size."""
    records = [e.record for e in entries if isinstance(e.record, LatencyRecord)]
    found = []
    for record in records:
        interval = interval_of(record) if record.baseline else None
        if record.is_control or record.varies != "network" or interval is None:
            continue
        assert record.baseline is not None
        precision = _of_dense(records, record, "precision")
        lower = precision.baseline if precision else None
        runtime = _of_dense(records, record, "runtime", (lower or record.baseline).sha256)
        dense, pruned = record.baseline.structure, record.subject.structure
        found.append(
            Attribution(
                record=record,
                pruning=interval,
                precision=interval_of(precision) if precision else None,
                runtime=interval_of(runtime) if runtime else None,
                elsewhere=_elsewhere(runtime),
                macs_ratio=cost_of(dense).macs_per_image / cost_of(pruned).macs_per_image,
            )
        )
    return found


def _of_dense(
    records: Sequence[LatencyRecord], record: LatencyRecord, varies: str, sha256: str = ""
) -> LatencyRecord | None:
    """The newest record of what `varies` gains for the dense file that `record` is over."""
    assert record.baseline is not None
    wanted = sha256 or record.baseline.sha256
    fitting = [
        other
        for other in records
        if other.varies == varies
        and other.subject.sha256 == wanted
        and other.batch_size == record.batch_size
        and other.runtime == record.runtime
        and other.environment == record.environment
        and interval_of(other) is not None
    ]
    return fitting[-1] if fitting else None


def _elsewhere(runtime: LatencyRecord | None) -> str:
    if runtime is None or runtime.baseline_runtime is None:
        return ""
    return f"{runtime.baseline_runtime.name}, {runtime.baseline_runtime.provider}"


def _reasons(record: LatencyRecord) -> list[str]:
    """What was seen that keeps a speedup from following the MACs."""
    found = []
    blocks = [b for b in record.blocks if b.arm == "candidate" and b.device_ns]
    if blocks:
        launched = sum(sum(b.enqueue_ns) for b in blocks)
        if launched > _HOST_BOUND * sum(sum(b.device_ns) for b in blocks):
            found.append("host bound: launching takes as long as computing")
    odd = _unaligned(record.subject.structure)
    if odd:
        found.append(f"{odd} dimensions are no multiple of {_ALIGNED}")
    if record.proof is not None and not record.proof.fused_attention:
        found.append("attention is not fused")
    return found


def _unaligned(structure: Structure) -> int:
    """Widths, head dimensions and MLPs off the hardware's multiples."""
    sizes = [structure.embed_dim]
    for block in structure.blocks:
        sizes += [block.head_dim, block.mlp_hidden]
    return sum(size % _ALIGNED != 0 for size in sizes)


def attribution_section(entries: Sequence[Entry], setting: str = "") -> Section | None:
    """The table of attributions of one setting; None where there is none."""
    found = attributions(entries)
    if not found:
        return None
    return Section(
        title=f"{setting}: where the speedup comes from"
        if setting
        else "Where the speedup comes from",
        text="Only the speedup of pruning is pruning's. Precision is dense in this precision over "
        "dense in fp32, runtime is dense here over dense elsewhere; a dash was not measured. A "
        "reason stands where pruning's speedup is more than 25 % off the MACs ratio.",
        header=("file", "on", "batch", "runtime", "precision", "pruning", "total", "MACs", "why"),
        rows=tuple(_row(a) for a in found),
    )


def _row(a: Attribution) -> tuple[str, ...]:
    runtime = f"{_times(a.runtime)} over {a.elsewhere}" if a.runtime else "–"
    spec, subject = a.record.runtime, a.record.subject
    return (
        subject.label,
        f"{spec.name}, {spec.provider}, {subject.precision}",
        str(a.record.batch_size),
        runtime,
        _times(a.precision),
        _times(a.pruning),
        _times(a.total),
        f"{a.macs_ratio:.2f}x",
        "; ".join(a.reasons),
    )


def _times(interval: Interval | None) -> str:
    if interval is None:
        return "–"
    return f"{interval.estimate:.2f}x [{interval.low:.2f}, {interval.high:.2f}]"
