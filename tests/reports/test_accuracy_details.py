"""Accuracy in detail: numbers by hand, dense of the same seed, and what was not measured."""

from dataclasses import replace
from pathlib import Path

import pytest

from dgprune.records import AccuracyRecord, Entry, append_records
from reports.accuracy_details import (
    NOT_MEASURED,
    points,
    spread_cells,
    spread_names,
    unseen_section,
)
from reports.recipe import dense_of, row_name
from reports.report import report
from reports.rows import Row, Table, tables
from tests.conftest import TinyChain
from tests.fakes.accuracy import entries_of

DENSE = {"a": 9, "b": 8, "c": 4}
PRUNED = {"a": 8, "b": 7, "c": 5}
OLD = Path(__file__).parents[1] / "dgprune" / "fixtures"


def table_of(*files: list[Entry]) -> Table:
    (table,) = tables([entry for file in files for entry in file])
    return table


def pair(seed: int = 0) -> tuple[list[Entry], list[Entry]]:
    return entries_of("dense", "c", seed, DENSE), entries_of("l1", "c", seed, PRUNED)


def cells(row: Row, table: Table) -> dict[str, str]:
    return dict(zip(spread_names(table), spread_cells(row, table), strict=True))


def lines(table: Table) -> dict[str, dict[str, str]]:
    section = unseen_section(table)
    assert section is not None
    return {row[0]: dict(zip(section.header, row, strict=True)) for row in section.rows}


def test_mean_worst_and_gap_by_hand() -> None:
    table = table_of(*pair())
    dense, pruned = (cells(row, table) for row in table.rows)
    assert dense == {
        "mean": "70.0 %", "worst": "c 40.0 %", "gap": "45.0", "change of the gap": "–",
    }  # fmt: skip
    assert pruned == {
        "mean": "66.7 %", "worst": "c 50.0 %", "gap": "25.0", "change of the gap": "-20.0",
    }  # fmt: skip


def test_a_missing_domain_takes_the_averages_away(chain: TinyChain) -> None:
    dense, pruned = pair()
    table = table_of(dense, [e for e in pruned if getattr(e.record, "domain", "") != "a"])
    found = cells(table.rows[1], table)
    assert found == {
        "mean": "missing 1 of 3", "worst": "missing 1 of 3", "gap": "–", "change of the gap": "–",
    }  # fmt: skip
    assert cells(table.rows[0], table)["mean"] == "70.0 %"


def test_the_unseen_domain_against_dense_by_hand() -> None:
    found = lines(table_of(*pair()))
    assert found["dense"]["over dense"] == "–"
    pruned = found["l1"]
    assert pruned["over dense"].startswith("+10.0 [")
    assert pruned["p (McNemar)"] == "1.000"  # one image apart
    assert (pruned["of dense"], pruned["agreement"]) == ("125.0 %", "90.0 %")
    assert (pruned["temperature"], pruned["ECE"]) == ("2.00", "0.470")  # 0.97 sure, 0.5 right


def test_every_file_stands_beside_the_dense_of_its_own_seed() -> None:
    worse = {"a": 9, "b": 8, "c": 1}
    files = [*pair(), entries_of("dense", "c", 1, worse), entries_of("l1", "c", 1, PRUNED)]
    table = table_of(*files)
    found = lines(table)
    assert set(found) == {f"{label} (seed {s})" for label in ("dense", "l1") for s in (0, 1)}
    assert found["l1 (seed 0)"]["over dense"].startswith("+10.0")
    assert found["l1 (seed 1)"]["over dense"].startswith("+40.0")


@pytest.mark.parametrize("others", [(0, 1), (0,)])
def test_a_dense_of_another_seed_is_no_match(others: tuple[int, ...]) -> None:
    files = [entries_of("dense", "c", seed, DENSE) for seed in others]
    table = table_of(*files, entries_of("l1", "c", 2, PRUNED))
    (pruned,) = (row for row in table.rows if row.criterion != "dense")
    assert dense_of(pruned, table) is None
    assert lines(table)["l1 (seed 2)"]["agreement"] == "–"


def test_what_was_pruned_before_any_tuning_stands_beside_the_dense_of_its_seed() -> None:
    direct = []
    for entry in entries_of("l1", "c", 1, PRUNED):
        source, _, *rest = entry.record.subject.lineage
        subject = replace(entry.record.subject, lineage=(source, *rest))
        direct.append(replace(entry, record=replace(entry.record, subject=subject)))
    table = table_of(*(entries_of("dense", "c", seed, DENSE) for seed in (0, 1)), direct)
    (pruned,) = (row for row in table.rows if row.criterion != "dense")
    parent = dense_of(pruned, table)
    assert parent is not None
    assert row_name(parent, table) == "dense (seed 1)"


def test_the_dense_nearest_in_the_lineage_is_the_one() -> None:
    untrained = []
    for entry in entries_of("dense", "c", 0, {**DENSE, "c": 1}):
        lineage = entry.record.subject.lineage[:1]
        subject = replace(entry.record.subject, lineage=lineage, sha256="0" * 64)
        untrained.append(
            replace(entry, id=entry.id[::-1], record=replace(entry.record, subject=subject))
        )
    table = table_of(untrained, *pair())
    (pruned,) = (row for row in table.rows if row.criterion != "dense")
    parent = dense_of(pruned, table)
    assert parent is not None
    assert parent.is_trained


def test_equal_labels_are_told_apart_by_what_differs() -> None:
    table = table_of(
        entries_of("dense", "c", 0, DENSE),
        entries_of("l1", "c", 0, PRUNED, {"epochs": 2}),
        entries_of("l1", "c", 0, PRUNED, {"epochs": 9}),
    )
    names = {row_name(row, table) for row in table.rows}
    assert names == {"dense", "l1 (recovery epochs 2)", "l1 (recovery epochs 9)"}


def test_other_images_are_not_compared() -> None:
    dense, pruned = pair()
    entry = pruned[-1]
    assert isinstance(entry.record, AccuracyRecord)
    pruned[-1] = replace(entry, record=replace(entry.record, images_sha256="f" * 64))
    assert lines(table_of(dense, pruned))["l1"]["over dense"] == "other images"


@pytest.mark.parametrize("schema", [1, 2])
def test_old_records_say_not_measured(schema: int, tmp_path: Path) -> None:
    page = report([OLD / f"records-schema-{schema}.jsonl"], tmp_path / "out").path
    assert "Accuracy in detail" in page.read_text()


def test_what_was_not_stored_is_not_measured_and_the_rest_is_printed(
    chain: TinyChain, tmp_path: Path
) -> None:
    old = [
        replace(e, record=replace(
            e.record, predictions_hex=None, images_sha256=None, reliability=None, scaled=None,
        ))
        for file in pair() for e in file if isinstance(e.record, AccuracyRecord)
    ]  # fmt: skip
    found = lines(table_of(old))["l1"]
    assert found["over dense"].startswith("+10.0 [")
    unknown = [name for name, text in found.items() if text == NOT_MEASURED]
    assert unknown == ["agreement", "temperature", "ECE", "ECE scaled", "NLL", "NLL scaled"]
    for entry in old:
        append_records(tmp_path / "r.jsonl", entry.cell, [entry.record])
    folder = report([tmp_path / "r.jsonl"], tmp_path / "out").path.parent
    for name in ("report.html", "report.md"):
        assert (folder / name).read_text().count(NOT_MEASURED) >= 11


def test_the_page_holds_what_the_section_says(chain: TinyChain, tmp_path: Path) -> None:
    folder = report([chain.records], tmp_path / "out").path.parent
    for name in ("report.html", "report.md"):
        text = (folder / name).read_text()
        assert "against dense and in confidence" in text
        assert f">{NOT_MEASURED}<" not in text
        assert f"| {NOT_MEASURED} |" not in text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0.0123, "+1.2"), (-0.05, "-5.0"), (0.0, "+0.0")]
)
def test_points(value: float | None, text: str) -> None:
    assert points(value) == text
