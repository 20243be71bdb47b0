"""Records: derived numbers, identity, schema, and the fixture that must load for ever."""

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dgprune.errors import DgpruneError
from dgprune.predictions import pack, unpack
from dgprune.records import AccuracyRecord, LatencyRecord, append_records, read_records
from dgprune.statistics import (
    accuracy_interval,
    median_latency_s,
    round_log_ratios,
    speedup_interval,
)
from reports.report import report
from tests.conftest import TinyChain

FIXTURES = Path(__file__).parent / "fixtures"
FIXTURE = FIXTURES / "records-schema-1.jsonl"


def test_the_chain_leaves_one_accuracy_a_domain_and_one_latency_a_pair(chain: TinyChain) -> None:
    records = [entry.record for entry in read_records(chain.records)]
    accuracy = [r for r in records if isinstance(r, AccuracyRecord)]
    latency = [r for r in records if isinstance(r, LatencyRecord)]
    assert sorted({(r.domain, r.role) for r in accuracy}) == [
        ("domain0", "source-val"),
        ("domain1", "source-val"),
        ("domain2", "target"),
    ]
    assert (len(accuracy), len(latency)) == (6, 2)
    assert all(len(round_log_ratios(r.blocks)) >= 12 for r in latency)
    assert all(r.runtime.threads == 1 and r.batches == 8 for r in latency)


def test_accuracy_and_latency_speak_of_the_same_bytes(chain: TinyChain) -> None:
    records = [entry.record for entry in read_records(chain.records)]
    measured = {
        kind: {r.subject.sha256 for r in records if isinstance(r, kind)}
        for kind in (AccuracyRecord, LatencyRecord)
    }
    assert measured[AccuracyRecord] == measured[LatencyRecord]


def test_rates_are_derived_from_counts(chain: TinyChain) -> None:
    for entry in read_records(chain.records):
        if isinstance(entry.record, AccuracyRecord):
            record = entry.record
            assert record.correct == bin(int(record.correct_hex, 16)).count("1")
            interval = accuracy_interval(record)
            assert 0 <= interval.low <= record.accuracy <= interval.high <= 1


@pytest.mark.parametrize(("schema", "processes"), [(1, 1), (2, 2), (3, 1)])
def test_every_schema_loads_for_ever(schema: int, processes: int) -> None:
    entries = read_records(FIXTURES / f"records-schema-{schema}.jsonl")
    accuracy, latency = entries[0].record, entries[-1].record
    assert isinstance(accuracy, AccuracyRecord)
    assert isinstance(latency, LatencyRecord)
    assert median_latency_s(latency, "baseline") > 0
    assert len(latency.replicas) == processes
    assert speedup_interval(latency.replicas).low > 0


@pytest.mark.parametrize(("schema", "stored"), [(1, False), (2, False), (3, True)])
def test_only_schema_3_knows_predictions_and_confidence(schema: int, stored: bool) -> None:
    record = read_records(FIXTURES / f"records-schema-{schema}.jsonl")[1].record
    assert isinstance(record, AccuracyRecord)
    parts = (record.predictions, record.images_sha256, record.reliability, record.scaled)
    assert [part is not None for part in parts] == [stored] * 4


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("predictions_hex", lambda text: text[:-2]),  # an image less
        ("predictions_hex", lambda text: text[2:] + text[:2]),  # the same classes, other images
        ("predictions_hex", lambda text: "ff" + text[2:]),  # no such class
        ("reliability", lambda seen: replace(seen, counts=(1, *seen.counts[1:]))),
        ("scaled", lambda seen: replace(seen, correct=(1, *seen.correct[1:]))),
    ],
)
def test_parts_that_count_other_images_are_refused(
    field: str, change: Callable[[Any], Any]
) -> None:
    record = read_records(FIXTURES / "records-schema-3.jsonl")[1].record
    changes: dict[str, Any] = {field: change(getattr(record, field))}
    with pytest.raises(ValueError, match=r"count the same images|names a class"):
        replace(record, **changes)


@pytest.mark.parametrize("classes", [2, 256, 345])
def test_predictions_come_back_as_they_were(classes: int) -> None:
    predictions = tuple(range(classes))[::-1]
    assert unpack(pack(predictions, classes), classes) == predictions
    with pytest.raises(ValueError, match="digits an image"):
        unpack(pack(predictions, classes)[:-1], classes)


def test_an_unknown_schema_is_refused(tmp_path: Path) -> None:
    body = json.loads(FIXTURE.read_text().splitlines()[0])
    (tmp_path / "r.jsonl").write_text(json.dumps({**body, "schema": 7}) + "\n")
    with pytest.raises(DgpruneError, match=r"r\.jsonl:1 has schema 7.*reads schema 4"):
        read_records(tmp_path / "r.jsonl")


def test_an_edited_record_is_found(tmp_path: Path) -> None:
    text = FIXTURE.read_text().splitlines()[0]
    (tmp_path / "r.jsonl").write_text(text.replace('"role":"source-val"', '"role":"target"') + "\n")
    with pytest.raises(DgpruneError, match="was edited after it was written"):
        read_records(tmp_path / "r.jsonl")


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    lines = FIXTURE.read_text().splitlines()
    (tmp_path / "r.jsonl").write_text(f"{lines[0]}\n{lines[1][:50]}")
    assert len(read_records(tmp_path / "r.jsonl")) == 1


def test_appending_keeps_what_is_there(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    entries = read_records(FIXTURE)
    for entry in entries:
        append_records(file, entry.cell, [entry.record])
    again = read_records(file)
    assert [(e.cell, e.record) for e in again] == [(e.cell, e.record) for e in entries]
    text = file.read_text()
    append_records(file, "more", [entries[0].record])
    assert file.read_text().startswith(text)


def test_records_may_be_compressed(chain: TinyChain, tmp_path: Path) -> None:
    packed = tmp_path / "records.jsonl.gz"
    packed.write_bytes(gzip.compress(chain.records.read_bytes()))
    assert read_records(packed) == read_records(chain.records)
    plain, again = (report([f], tmp_path / f.suffix[1:]) for f in (chain.records, packed))
    for name in ("report.html", "report.md", "records.jsonl"):
        assert (plain.path.parent / name).read_bytes() == (again.path.parent / name).read_bytes()
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(DgpruneError, match="cannot be read as records"):
        read_records(packed)
