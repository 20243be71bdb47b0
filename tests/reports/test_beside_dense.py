"""What precision and pruning cost together: a file beside dense in fp32 on the same runtime."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from dgprune.lineage import LineageStep
from dgprune.records import AccuracyRecord, Entry
from dgprune.schema import digest
from reports.over_targets import Grid, grids
from reports.over_targets_section import over_targets_sections
from reports.rows import tables
from tests.reports.test_over_targets import DENSE, files

FP32 = files("dense", DENSE)
WORSE = {key: hits - (key[0] == "a") for key, hits in DENSE.items()}
LEAST = {key: hits - (key[0] != "b") for key, hits in DENSE.items()}


def in_int8(entries: Sequence[Entry]) -> list[Entry]:
    """The same checkpoints exported in int8: their own files, one more step of lineage."""
    found = []
    for entry in entries:
        of = entry.record.subject
        name = digest(["int8", of.sha256])
        export = LineageStep(stage="export", digest=name, spec={})
        subject = replace(of, sha256=name, precision="int8", lineage=(*of.lineage, export))
        record = replace(entry.record, subject=subject)
        found.append(replace(entry, id=digest(["int8", entry.id])[:16], record=record))
    return found


INT8 = [*in_int8(files("dense", WORSE)), *in_int8(files("l1", LEAST))]


def int8_grid(entries: Sequence[Entry]) -> Grid:
    (found,) = (grid for grid in grids(tables(entries)) if "int8" in grid.title)
    return found


def test_differences_by_hand_from_dense_in_int8_and_in_fp32() -> None:
    dense, pruned = int8_grid([*FP32, *INT8]).lines
    assert dense.over_dense is None and dense.over_fp32 is not None
    assert dense.over_fp32.estimate == pytest.approx(-0.1 / 3)
    assert pruned.over_dense is not None and pruned.over_fp32 is not None
    assert pruned.over_dense.estimate == pytest.approx(-0.1 / 3)
    assert pruned.over_fp32.estimate == pytest.approx(-0.2 / 3)


def test_only_the_table_of_another_precision_has_the_column() -> None:
    fp32, int8 = over_targets_sections(tables([*FP32, *INT8]))
    assert "over dense in fp32, points" not in fp32.header
    row = dict(zip(int8.header, int8.rows[1], strict=True))
    assert row["over dense in fp32, points"].startswith("-6.7 [-6.7")
    assert "what precision and pruning cost together" in int8.text
    assert {len(row) for row in int8.rows} == {len(int8.header)}


def test_a_target_without_dense_in_fp32_leaves_the_difference_open() -> None:
    part = [entry for entry in FP32 if entry.record.subject.origin.target != "c"]
    grid = int8_grid([*part, *INT8])
    assert all(line.over_fp32 is None for line in grid.lines) and not grid.beside_fp32


def test_dense_in_fp32_on_another_runtime_or_of_another_seed_is_no_match() -> None:
    elsewhere = []
    for entry in FP32:
        assert isinstance(entry.record, AccuracyRecord)
        runtime = replace(entry.record.runtime, name="torch")
        elsewhere.append(replace(entry, record=replace(entry.record, runtime=runtime)))
    assert not int8_grid([*elsewhere, *INT8]).beside_fp32
    other = files("dense", {(target, seed + 2): hits for (target, seed), hits in DENSE.items()})
    assert not int8_grid([*other, *INT8]).beside_fp32
