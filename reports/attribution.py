"""Where a speedup comes from: runtime times precision times pruning, and the MACs beside it."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dgprune.judgement import interval_of
from dgprune.records import Entry, LatencyRecord, RuntimeSpec
from dgprune.statistics import Interval
from dgprune.structure import Structure, cost_of
from reports.section import DASH, Section, without_empty
from reports.setting import seed_of
from reports.speed import weight
from reports.times import times

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
    """One a pruned file, runtime and batch size, of the record that backs it best."""
    records = [e.record for e in entries if isinstance(e.record, LatencyRecord)]
    gains = _gains_of_dense(records)
    found = []
    for record in _best_backed(records):
        interval = interval_of(record)
        assert record.baseline is not None and interval is not None
        precision = _of_dense(gains, record, "precision")
        lower = precision.baseline if precision else None
        runtime = _of_dense(gains, record, "runtime", (lower or record.baseline).sha256)
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


def _best_backed(records: Sequence[LatencyRecord]) -> list[LatencyRecord]:
    """One a pruned file, runtime and batch size, as tables choose it, in order of first mention."""
    best: dict[tuple[str, RuntimeSpec, int], LatencyRecord] = {}
    for record in records:
        if record.is_control or record.varies != "network" or record.baseline is None:
            continue
        if interval_of(record) is not None:
            key = (record.subject.sha256, record.runtime, record.batch_size)
            best[key] = max(record, best.get(key, record), key=weight)
    return list(best.values())


_Gains = dict[tuple[str, str, int], list[LatencyRecord]]


def _gains_of_dense(records: Sequence[LatencyRecord]) -> _Gains:
    """What changes precision or runtime, by what it changes, file and batch size."""
    found: _Gains = defaultdict(list)
    for record in records:
        if record.varies != "network" and interval_of(record) is not None:
            found[record.varies, record.subject.sha256, record.batch_size].append(record)
    return found


def _of_dense(
    gains: _Gains, record: LatencyRecord, varies: str, sha256: str = ""
) -> LatencyRecord | None:
    """The newest record of what `varies` gains for the dense file that `record` is over."""
    assert record.baseline is not None
    found = gains.get((varies, sha256 or record.baseline.sha256, record.batch_size), [])
    fitting = [
        other
        for other in found
        if other.runtime == record.runtime and other.environment == record.environment
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
        are = "dimension is" if odd == 1 else "dimensions are"
        found.append(f"{odd} {are} no multiple of {_ALIGNED}")
    if record.proof is not None and not record.proof.fused_attention:
        found.append("attention is not fused")
    return found


def _unaligned(structure: Structure) -> int:
    """Widths, head dimensions and MLPs off the hardware's multiples."""
    sizes = [structure.embed_dim]
    for block in structure.blocks:
        sizes += [block.head_dim, block.mlp_hidden]
    return sum(size % _ALIGNED != 0 for size in sizes)


def attribution_section(found: Sequence[Attribution], setting: str = "") -> Section | None:
    """A row a file and what executes it, of one setting; None where there is none."""
    if not found:
        return None
    names = attributed_names(found)
    sizes = sorted({a.record.batch_size for a in found})
    grouped: dict[tuple[str, str, str], dict[int, Attribution]] = defaultdict(dict)
    for name, a in zip(names, found, strict=True):
        grouped[name, _where(a), a.record.subject.sha256][a.record.batch_size] = a
    header, rows = without_empty(
        ("file", "on", *_heads(sizes), "MACs", "why"),
        [_row(name, where, by_size, sizes) for (name, where, _), by_size in grouped.items()],
    )
    return Section(
        title=f"{setting}: where the speedup comes from"
        if setting
        else "Where the speedup comes from",
        text="Only the speedup of pruning is pruning's. Precision is dense in this precision over "
        "dense in fp32, runtime is dense here over dense elsewhere; where neither was measured for "
        "any file, pruning is all there is to tell. A reason stands where pruning's speedup is "
        "more than 25 % off the MACs ratio.",
        header=header,
        rows=rows,
    )


def attributed_names(found: Sequence[Attribution]) -> list[str]:
    """What each file is called: its label, and where those differ its target and its seed."""
    subjects = [a.record.subject for a in found]
    several_targets = len({subject.origin.target for subject in subjects}) > 1
    several_seeds = len({seed_of(subject) for subject in subjects}) > 1
    return [
        subject.label
        + (f", {subject.origin.target}" if several_targets else "")
        + (f", seed {seed_of(subject)}" if several_seeds else "")
        for subject in subjects
    ]


def _where(a: Attribution) -> str:
    runtime = a.record.runtime
    return f"{runtime.name}, {runtime.provider}, {a.record.subject.precision}"


_PARTS = ("runtime", "precision", "pruning", "total")


def _heads(sizes: Sequence[int]) -> tuple[str, ...]:
    return tuple(f"{part}, batch {size}" for size in sizes for part in _PARTS)


def _row(
    name: str, where: str, by_size: Mapping[int, Attribution], sizes: Sequence[int]
) -> tuple[str, ...]:
    cells = [cell for size in sizes for cell in _cells(by_size.get(size))]
    first = next(iter(by_size.values()))
    return (name, where, *cells, f"{first.macs_ratio:.2f}x", _why(by_size))


def _cells(a: Attribution | None) -> tuple[str, str, str, str]:
    """The parts of `_PARTS`; no total where it would say again what pruning says."""
    if a is None:
        return (DASH, DASH, DASH, DASH)
    runtime = f"{times(a.runtime)} over {a.elsewhere}" if a.runtime else DASH
    alone = a.runtime is None and a.precision is None
    return (
        *(runtime, times(a.precision), times(a.pruning)),
        DASH if alone else times(a.total),
    )


def _why(by_size: Mapping[int, Attribution]) -> str:
    """Every reason once, with the batch sizes that it is not of all."""
    sizes: dict[str, list[int]] = defaultdict(list)
    for size, a in sorted(by_size.items()):
        for reason in a.reasons:
            sizes[reason].append(size)
    return "; ".join(
        reason if len(of) == len(by_size) else f"{reason} (batch {', '.join(map(str, of))})"
        for reason, of in sizes.items()
    )
