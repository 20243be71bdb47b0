"""Attribution and details: products, reasons, knees and dashes, from records with known answers."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.tiers import tier
from dgprune.records import (
    AccuracyRecord,
    Entry,
    LatencyRecord,
    Record,
    RuntimeSpec,
    append_records,
    read_records,
)
from dgprune.statistics import Interval
from dgprune.timing import ColdStart, Replica, TimedBlock
from reports.attribution import Attribution, attribution_section, attributions
from reports.latency_details import details
from reports.rows import tables
from tests.conftest import TinyChain


def timed(record: LatencyRecord, speedup: float, latency_ns: int = 4_000_000) -> LatencyRecord:
    """`record` with the candidate exactly `speedup` times as fast."""
    durations = {"baseline": latency_ns, "candidate": round(latency_ns / speedup)}
    blocks = tuple(
        TimedBlock(arm=arm, round=index, durations_ns=(durations[arm],) * 10)
        for index in range(12)
        for arm in ("baseline", "candidate", "candidate", "baseline")
    )
    replica = Replica(build=0, stationary=True, load_average=0.0, blocks=blocks)
    return replace(record, replicas=(replica,))


def latency_of(chain: TinyChain) -> LatencyRecord:
    (record,) = (
        e.record
        for e in read_records(chain.records)
        if isinstance(e.record, LatencyRecord) and not e.record.is_control
    )
    return record


def entries(path: Path, records: list[Record]) -> list[Entry]:
    append_records(path, "cell", records)
    return read_records(path)


def test_a_total_is_the_product_of_what_was_measured(chain: TinyChain, tmp_path: Path) -> None:
    pruned = timed(latency_of(chain), 2.0)
    assert pruned.baseline is not None
    elsewhere = RuntimeSpec(name="torch", provider="cpu", threads=1)
    dense = replace(pruned, subject=pruned.baseline)
    runtime = replace(timed(dense, 1.5), varies="runtime", baseline_runtime=elsewhere)
    (found,) = attributions(entries(tmp_path / "r", [pruned, runtime]))
    assert found.runtime is not None and found.precision is None
    assert found.total.estimate == pytest.approx(3.0)
    section = attribution_section(attributions(read_records(tmp_path / "r")))
    assert section is not None
    (row,) = (dict(zip(section.header, row, strict=True)) for row in section.rows)
    assert row["runtime, batch 1"].startswith("1.50x")
    assert row["runtime, batch 1"].endswith("over torch, cpu")
    assert "precision, batch 1" not in row and row["total, batch 1"].startswith("3.00x")


def test_a_precision_stands_between_runtime_and_pruning(chain: TinyChain, tmp_path: Path) -> None:
    pruned = timed(latency_of(chain), 2.0)
    dense = pruned.baseline
    assert dense is not None
    fp32 = replace(dense, sha256="0" * 64)
    elsewhere = RuntimeSpec(name="torch", provider="cpu", threads=1)
    precision = replace(timed(pruned, 1.25), subject=dense, baseline=fp32, varies="precision")
    runtime = replace(
        timed(pruned, 1.5),
        subject=fp32,
        baseline=replace(fp32, format="safetensors"),
        varies="runtime",
        baseline_runtime=elsewhere,
    )
    (found,) = attributions(entries(tmp_path / "r", [runtime, precision, pruned]))
    assert found.total.estimate == pytest.approx(2.0 * 1.25 * 1.5)


@pytest.mark.parametrize("order", [1, -1])
def test_more_processes_stand_before_a_narrower_interval(
    chain: TinyChain, tmp_path: Path, order: int
) -> None:
    """A single process knows nothing of what differs between processes, and looks the surest."""
    quick = timed(latency_of(chain), 2.0)
    speeds = (1.8, 1.9, 2.0, 1.8, 1.9, 2.0)
    several = replace(
        quick,
        spec=tier("default", 0),
        replicas=tuple(
            replace(timed(quick, speed).replicas[0], build=number)
            for number, speed in enumerate(speeds)
        ),
    )
    dense = [e.record for e in read_records(chain.records) if isinstance(e.record, AccuracyRecord)]
    both = [quick, several][::order]
    found = entries(tmp_path / "r", [*dense, *both])
    (table,) = (t for t in tables(found) if t.batch_sizes)
    (shown,) = (row.speed[1] for row in table.rows if row.speed)
    (told,) = attributions(found)
    assert len(shown.record.replicas) == len(told.record.replicas) == 6
    assert shown.interval == told.pruning


def test_limits_of_a_product_add_in_squares(chain: TinyChain) -> None:
    interval = Interval(low=1 / 1.1, estimate=1.0, high=1.1)
    found = Attribution(
        record=latency_of(chain),
        pruning=interval,
        precision=interval,
        runtime=None,
        elsewhere="",
        macs_ratio=1.0,
    )
    assert found.total.high == pytest.approx(1.1 ** (2**0.5))
    assert found.total.low == pytest.approx(1 / found.total.high)


@pytest.mark.parametrize(("share", "told"), [(1.0, False), (0.5, True), (2.0, True)])
def test_a_reason_stands_where_speedup_and_macs_part(
    chain: TinyChain, tmp_path: Path, share: float, told: bool
) -> None:
    record = latency_of(chain)
    ratio = attributions(entries(tmp_path / "a", [record]))[0].macs_ratio
    (found,) = attributions(entries(tmp_path / "b", [timed(record, ratio * share)]))
    assert bool(found.reasons) is told


def test_launching_that_takes_as_long_as_computing_is_host_bound(
    chain: TinyChain, tmp_path: Path
) -> None:
    record = timed(latency_of(chain), 1.0)
    (replica,) = record.replicas
    blocks = tuple(
        replace(b, device_ns=(1000,) * 10, enqueue_ns=(900,) * 10) for b in replica.blocks
    )
    bound = replace(record, replicas=(replace(replica, blocks=blocks),))
    (found,) = attributions(entries(tmp_path / "r", [bound]))
    assert any("host bound" in reason for reason in found.reasons)


def test_details_print_knee_cold_start_and_energy(chain: TinyChain, tmp_path: Path) -> None:
    record = latency_of(chain)
    cold = ColdStart(
        load_ns=30_000_000, first_call_ns=5_000_000, host_bytes=12_000_000, device_bytes=None
    )
    records: list[Record] = []
    for size, latency_ns in ((1, 4_000_000), (8, 16_000_000), (32, 64_000_000)):
        made = timed(replace(record, batch_size=size), 2.0, latency_ns)
        (replica,) = made.replicas
        blocks = tuple(replace(b, energy_uj=10_000 * size) for b in replica.blocks)
        arms = {"baseline": cold, "candidate": cold}
        records.append(
            replace(made, replicas=(replace(replica, blocks=blocks),), cold=arms)  # type: ignore[arg-type]
        )
    accuracy = [e.record for e in read_records(chain.records) if hasattr(e.record, "domain")]
    (table,) = tables(entries(tmp_path / "r", [*accuracy, *records]))
    section = details(table)
    assert section is not None
    lines = [dict(zip(section.header, row, strict=True)) for row in section.rows]
    assert [line["batch"] for line in lines] == ["1", "1", "8", "8", "32", "32"]
    assert {line["knee"] for line in lines} == {"8"}
    dense, pruned = lines[:2]
    assert (dense["median, ms"], pruned["median, ms"]) == ("4", "2")
    assert (dense["images/s"], pruned["images/s"]) == ("250.0", "500.0")
    assert (dense["load, ms"], dense["first call, ms"]) == ("30", "5")
    assert dense["host memory, MB"] == "12.0"
    assert dense["energy, mJ/image"] == "1"
    assert dense["p90, ms"] == "4"
    assert not {"p99, ms", "device memory, MB"} & dense.keys()  # not measured of any file


def test_a_control_of_another_runtime_makes_no_table_of_its_own(
    chain: TinyChain, tmp_path: Path
) -> None:
    record = latency_of(chain)
    assert record.baseline is not None
    control = replace(
        timed(record, 1.0),
        subject=record.baseline,
        runtime=RuntimeSpec(name="torch", provider="cpu", threads=1),
    )
    found = tables(entries(tmp_path / "r", [record, control]))
    assert [table.title.rsplit("on ", 1)[1] for table in found] == ["onnxruntime, cpu)"]
    assert len(tables(entries(tmp_path / "alone", [control]))) == 1
