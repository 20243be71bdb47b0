"""The data tables: every record a row, numbers whole, no formula, Parquet the same with types."""

import csv
import io
import math
from dataclasses import replace

import pytest

from dgprune.domain_metrics import agreement
from dgprune.errors import DgpruneError
from dgprune.records import AccuracyRecord, Entry, LatencyRecord
from dgprune.statistics import accuracy_interval, median_latency_s
from reports.beside import data_tables
from reports.data.columns import DataTable
from reports.data.csv_text import csv_text
from reports.data.dictionary import dictionary_text
from reports.data.facts import facts_of
from reports.data.parquet import is_same_parquet, parquet_bytes
from reports.rows import tables
from tests.fakes.accuracy import entries_of
from tests.fakes.hostile import FORMULA, TEXTS, hostile_entries
from tests.fakes.many_records import many_entries


def tables_of(entries: list[Entry]) -> dict[str, DataTable]:
    return {table.name: table for table in data_tables(facts_of(entries, tables(entries)))}


def rows_of(table: DataTable) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_text(table), newline="")))


@pytest.fixture(scope="module")
def entries() -> list[Entry]:
    return many_entries(190)


@pytest.fixture(scope="module")
def found(entries: list[Entry]) -> dict[str, DataTable]:
    return tables_of(entries)


def test_every_record_has_a_row_and_every_number_all_its_digits(
    entries: list[Entry], found: dict[str, DataTable]
) -> None:
    accuracy = {row["record_id"]: row for row in rows_of(found["accuracy"])}
    latency = {row["record_id"]: row for row in rows_of(found["latency"])}
    assert len(accuracy) + len(latency) == len(entries) == 192
    for entry in entries:
        record = entry.record
        if isinstance(record, AccuracyRecord):
            row, interval = accuracy[entry.id], accuracy_interval(record)
            assert float(row["accuracy"]) == record.accuracy
            assert float(row["accuracy_low"]) == interval.low
            assert record.reliability is not None and record.scaled is not None
            assert float(row["ece"]) == record.reliability.ece
            assert float(row["nll_scaled_nats"]) == record.scaled.nll
        elif isinstance(record, LatencyRecord):
            row = latency[entry.id]
            assert float(row["latency_s"]) == median_latency_s(record)
            assert float(row["baseline_latency_s"]) == median_latency_s(record, "baseline")


def test_a_file_names_what_it_is_and_what_it_is_made_of(
    entries: list[Entry], found: dict[str, DataTable]
) -> None:
    rows = rows_of(found["files"])
    assert len(rows) == 32
    ids = {identity for row in rows for identity in row["record_ids"].split()}
    controls = {
        e.id for e in entries if isinstance(e.record, LatencyRecord) and e.record.is_control
    }
    assert ids == {entry.id for entry in entries} - controls
    (row,) = (r for r in rows if r["label"] == "tp-l1-75" and r["target"] == "cartoon")
    assert (row["engine"], row["criterion"], row["budget"], row["budget_value"]) == (
        *("torch-pruning", "l1", "ratio"),
        "0.75",
    )
    assert float(row["unseen_accuracy"]) == 0.78 and row["oracle_accuracy"] == ""
    (dense,) = (r for r in rows if r["label"] == "dense" and r["target"] == row["target"])
    assert (dense["engine"], dense["criterion"], dense["budget_value"]) == ("", "dense", "")


def test_agreement_and_control_are_those_of_the_dense_file(
    entries: list[Entry], found: dict[str, DataTable]
) -> None:
    by_id = {entry.id: entry.record for entry in entries}
    seen = rows_of(found["accuracy"])
    beside = {(row["sha256"], row["domain"]): by_id[row["record_id"]] for row in seen}
    pruned = [row for row in seen if row["dense_sha256"]]
    assert len(pruned) == 30 * 4
    for row in pruned:
        ours, dense = by_id[row["record_id"]], beside[row["dense_sha256"], row["domain"]]
        assert isinstance(ours, AccuracyRecord) and isinstance(dense, AccuracyRecord)
        assert float(row["agreement_with_dense"]) == agreement(ours, dense)
    for row in rows_of(found["latency"]):
        control = by_id[row["control_record_id"]]
        assert isinstance(control, LatencyRecord) and control.is_control
        assert control.subject.sha256 == row["baseline_sha256"]
        assert str(control.batch_size) == row["batch_size"]


def test_a_record_that_gave_way_is_told_from_the_one_that_is_shown() -> None:
    entries = entries_of("dense", "a", 0, {"a": 6, "b": 9})
    newer = [replace(entry, id=entry.id[::-1]) for entry in entries]
    rows = rows_of(tables_of([*entries, *newer])["accuracy"])
    shown = {row["record_id"]: row["is_shown"] for row in rows}
    assert shown == {e.id: "false" for e in entries} | {e.id: "true" for e in newer}


def test_a_file_timed_alone_has_a_latency_and_no_speedup() -> None:
    entries = many_entries(1)[:6]
    alone = [
        replace(e, record=replace(e.record, baseline=None))
        if isinstance(e.record, LatencyRecord)
        else e
        for e in entries
    ]
    for row in rows_of(tables_of(alone)["latency"]):
        assert float(row["latency_s"]) > 0
        assert (row["speedup"], row["verdict"], row["control_record_id"]) == ("", "", "")


def test_no_text_is_a_formula_and_every_text_comes_back() -> None:
    entries = hostile_entries()
    found = tables_of(entries)
    for table in found.values():
        texts = [c.name for c in table.columns if c.kind == "text"]
        for row, values in zip(rows_of(table), table.rows, strict=True):
            by_name = dict(zip((c.name for c in table.columns), values, strict=True))
            for name in texts:
                assert not row[name].startswith(("=", "+", "-", "@", "\t", "\r"))
                assert row[name].removeprefix("'") == (by_name[name] or "")
    labels = {row["label"] for row in rows_of(found["files"])}
    assert f"'{FORMULA}" in labels
    assert {text for text in TEXTS[:6] if text[0] not in "=+"} <= labels


def test_lines_end_as_rfc_4180_says_and_negative_numbers_stay_numbers() -> None:
    table = tables_of(entries_of("dense", "a", 0, {"a": 6}))["accuracy"]
    changed = replace(table, rows=((-1.5, *table.rows[0][1:]),))
    text = csv_text(changed)
    assert text.endswith("\r\n") and text.count("\n") == text.count("\r\n") == 2
    assert text.splitlines()[1].startswith("-1.5,")


def test_every_column_is_told_on_the_page_beside_the_tables(found: dict[str, DataTable]) -> None:
    page = dictionary_text(list(found.values()))
    for table in found.values():
        for column in table.columns:
            assert f"| {column.name} | {column.kind} | {column.about} |" in page


@pytest.mark.parametrize("hostile", [False, True])
def test_parquet_holds_the_values_of_the_csv_with_types(
    hostile: bool, entries: list[Entry]
) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from pyarrow import parquet

    kinds = {"bool": bool, "int": int, "float": float, "text": str}
    for table in tables_of(hostile_entries() if hostile else entries).values():
        data = parquet_bytes(table)
        read = parquet.ParquetFile(io.BytesIO(data), pre_buffer=False).read(use_threads=False)
        assert read.column_names == [column.name for column in table.columns]
        values = list(zip(*(column.to_pylist() for column in read.columns), strict=True))
        assert tuple(values) == table.rows
        for row, line in zip(values, rows_of(table), strict=True):
            for column, value in zip(table.columns, row, strict=True):
                text = line[column.name]
                if value is None:
                    assert text == ""
                    continue
                assert type(value) is kinds[column.kind]
                if column.kind in ("int", "float"):
                    assert float(text) == value and math.isfinite(value)
                elif column.kind == "text":
                    assert text.removeprefix("'") == value
        assert parquet_bytes(table) == data


def test_parquet_that_differs_in_a_value_or_is_none_is_told(found: dict[str, DataTable]) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    table = found["accuracy"]
    data = parquet_bytes(table)
    place = [column.name for column in table.columns].index("accuracy")
    row = table.rows[0]
    edited = replace(table, rows=((*row[:place], 0.99, *row[place + 1 :]), *table.rows[1:]))
    assert is_same_parquet(data, parquet_bytes(table))
    assert not is_same_parquet(parquet_bytes(edited), data)
    assert not is_same_parquet(b"no such thing", data)


def test_a_size_that_no_file_has_is_one_clear_error(entries: list[Entry]) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    record = entries[0].record
    huge = replace(record, subject=replace(record.subject, size_bytes=10**30))
    table = tables_of([replace(entries[0], record=huge)])["files"]
    with pytest.raises(DgpruneError, match="does not fit Parquet"):
        parquet_bytes(table)
