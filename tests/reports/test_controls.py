"""The control that is printed is the one that judges, in whatever order records were written."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from dgprune.judgement import control_of, judge
from dgprune.records import LatencyRecord, Record
from dgprune.statistics import Verdict
from reports.report import report
from reports.rows import tables
from reports.summary import warnings
from tests.fakes.sweep_files import Sweep
from tests.fakes.sweeps import as_entries, sweep_entries, sweep_records, write_records

SWEEP = Sweep(criteria=("l1",), ratios=(0.5,), batches=(1,))
FAILED = "the A/A control failed: the baseline differs from itself, so no verdict"


def exactly(control: LatencyRecord, speedup: float, seed: int = 0) -> LatencyRecord:
    """The control of another seed, whose candidate is `speedup` times as fast."""
    (replica,) = control.replicas
    durations = {"baseline": 4_000_000, "candidate": round(4_000_000 / speedup)}
    blocks = tuple(replace(b, durations_ns=(durations[b.arm],) * 4) for b in replica.blocks)
    spec = replace(control.spec, seed=seed)
    return replace(control, spec=spec, replicas=(replace(replica, blocks=blocks),))


def failing(control: LatencyRecord) -> LatencyRecord:
    """One that says that the file is a tenth faster than itself."""
    return exactly(control, 1.1, control.spec.seed + 1)


def parts() -> tuple[list[Record], LatencyRecord, LatencyRecord]:
    """Accuracies; a control that holds; the record that it judges."""
    records = sweep_records(SWEEP)
    control, record = (r for r in records if isinstance(r, LatencyRecord))
    accuracies: list[Record] = [r for r in records if not isinstance(r, LatencyRecord)]
    return accuracies, exactly(control, 1.0), record


@pytest.mark.parametrize("order", ["good first", "failing first"])
def test_a_control_that_failed_is_not_outvoted(tmp_path: Path, order: str) -> None:
    accuracies, good, record = parts()
    bad = failing(good)
    pair = [good, bad] if order == "good first" else [bad, good]
    assert judge(record, control_of(record, [good])) is Verdict.FASTER
    assert control_of(record, pair) is bad
    records: list[Record] = [*accuracies, pair[0], record, pair[1]]
    (table,) = tables(as_entries(records))
    (cell,) = (cell for row in table.rows for cell in row.speed.values())
    assert cell.verdict is Verdict.INCONCLUSIVE and FAILED in cell.doubts
    (printed,) = table.controls
    assert printed.record is bad and printed.interval.estimate == pytest.approx(1.1, rel=1e-3)
    told = warnings(table)
    assert any("dense against itself came out within 10.0 % of 1" in line for line in told)
    assert not any("within 0.0 % of 1" in line for line in told)
    folder = report([write_records(tmp_path / "r", records)], tmp_path / "out").path.parent
    assert "| dense | 1 | 1.1000 | 1.1000 to 1.1000 |" in (folder / "report.md").read_text()
    rows = list(csv.DictReader((folder / "tables" / "latency.csv").open()))
    assert {row["verdict"] for row in rows} == {"inconclusive"}
    (failed,) = {row["control_record_id"] for row in rows}
    (shown,) = (row for row in rows if row["record_id"] == failed)
    assert shown["is_shown"] == "true" and float(shown["speedup"]) == pytest.approx(1.1, rel=1e-3)


def test_of_controls_that_held_the_newest_judges_and_is_printed() -> None:
    accuracies, good, record = parts()
    newer = replace(good, spec=replace(good.spec, seed=9))
    (table,) = tables(as_entries([*accuracies, good, newer, record]))
    assert [cell.record for cell in table.controls] == [newer]
    assert control_of(record, [good, newer]) is newer


def test_one_that_lost_processes_fails_nothing_once_it_was_measured_again() -> None:
    _, good, record = parts()
    spec = replace(good.spec, replicas=2)
    short = replace(failing(good), spec=spec)
    whole = replace(good, spec=spec, replicas=good.replicas * 2)
    assert control_of(record, [short]) is short
    assert control_of(record, [short, whole]) is whole


def test_every_dense_file_that_judges_has_its_control_printed() -> None:
    entries = sweep_entries(replace(SWEEP, seeds=(0, 1), batches=(1, 8)))
    (table,) = tables(entries)
    found = [(table.names[c.record.subject.sha256], c.record.batch_size) for c in table.controls]
    assert sorted(found) == [(f"dense (seed {n})", b) for n in (0, 1) for b in (1, 8)]
    floors = [line for line in warnings(table) if line.startswith("Noise floor")]
    assert len(floors) == 2


def test_where_nothing_is_timed_but_dense_its_control_is_printed() -> None:
    accuracies, good, _ = parts()
    (table,) = tables(as_entries([*accuracies, good, failing(good)]))
    (printed,) = table.controls
    assert printed.interval.estimate == pytest.approx(1.1, rel=1e-3)
