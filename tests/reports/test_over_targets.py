"""Over targets and seeds: means by hand, and nothing averaged over less than was asked."""

import json
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dgprune.records import AccuracyRecord, Entry, Record, append_records
from dgprune.statistics import average
from reports.over_targets import Grid, grids
from reports.over_targets_section import OVER_TARGETS, over_targets_sections
from reports.published_accuracy import published_for
from reports.report import report
from reports.rows import tables
from reports.setting import seed_of
from reports.terminal import show
from reports.verify import VerifySpec, verify
from tests.fakes.accuracy import entries_of

DENSE = {(target, seed): 6 + seed for target in "abc" for seed in (0, 1)}
L1 = {(target, seed): hits - (target == "c") for (target, seed), hits in DENSE.items()}


def files(label: str, unseen: dict[tuple[str, int], int]) -> list[Entry]:
    return [
        entry
        for (target, seed), hits in unseen.items()
        for entry in entries_of(label, target, seed, {**dict.fromkeys("abc", 9), target: hits})
    ]


def grid_of(*found: list[Entry]) -> Grid:
    (grid,) = grids(tables([entry for file in found for entry in file]))
    return grid


def section(grid_entries: list[Entry]) -> dict[str, dict[str, str]]:
    (found,) = over_targets_sections(tables(grid_entries))
    return {row[0].split(": ")[1]: dict(zip(found.header, row, strict=True)) for row in found.rows}


def test_averages_spread_and_worst_target_by_hand() -> None:
    grid = grid_of(files("dense", DENSE), files("l1", L1))
    dense, pruned = grid.lines
    assert (grid.seeds, grid.targets, grid.domains, grid.missing) == (2, ("a", "b", "c"), 3, 0)
    assert dense.over_seeds("a").mean == pytest.approx(0.65)
    assert dense.over_seeds("a").spread == pytest.approx(statistics.stdev([0.6, 0.7]))
    assert pruned.over_targets.values == pytest.approx(((0.6 * 3 - 0.1) / 3, (0.7 * 3 - 0.1) / 3))
    assert pruned.over_targets.spread == pytest.approx(statistics.stdev([0.6, 0.7]))
    assert pruned.worst_target is not None
    assert pruned.worst_target[0] == "c" and pruned.worst_target[1] == pytest.approx(0.55)
    assert pruned.over_dense is not None
    assert pruned.over_dense.estimate == pytest.approx(-0.1 / 3)
    assert pruned.over_dense.low == pytest.approx(pruned.over_dense.high)  # both seeds lose it
    assert dense.over_dense is None


def test_the_seed_of_the_training_between_two_cuts_makes_no_other_recipe() -> None:
    def in_steps(lr: float) -> list[Entry]:
        right = dict.fromkeys("ab", 7)
        return [
            entry
            for target in "ab"
            for seed in (0, 1)
            for entry in entries_of(
                "l1", target, seed, right, {"between": {"learning_rate": lr, "seed": seed}}
            )
        ]

    (line,) = grid_of(in_steps(1e-4)).lines
    assert line.over_targets.values == pytest.approx((0.7, 0.7))
    assert len(grid_of(in_steps(1e-4), in_steps(2e-4)).lines) == 2


def test_a_missing_cell_is_counted_and_nothing_is_averaged_without_it() -> None:
    part = {key: hits for key, hits in L1.items() if key != ("c", 1)}
    found = section([*files("dense", DENSE), *files("l1", part)])
    assert found["l1"]["c"] == "missing 1 of 2"
    assert found["l1"]["average of 3"] == "missing 1 of 6"
    assert (found["l1"]["worst target"], found["l1"]["over dense, points"]) == ("–", "–")
    assert found["l1"]["a"] == "65.0 ± 7.1 %"
    assert found["dense"]["average of 3"] == "65.0 ± 7.1 %"
    (text,) = (s.text for s in over_targets_sections(tables(
        [*files("dense", DENSE), *files("l1", part)])))  # fmt: skip
    assert text.startswith("Missing: 1 of 12 files")


def test_a_recipe_of_one_target_and_seed_counts_as_none_missing() -> None:
    entries = [*files("dense", DENSE), *files("l1", {("b", 1): 3})]
    (text,) = (s.text for s in over_targets_sections(tables(entries)))
    assert text.startswith("Nothing missing")
    assert "1 recipe(s) tried with one target and seed count as none missing." in text
    alone = section(entries)["l1"]
    assert [alone[key] for key in ("a", "b", "c")] == ["–", "30.0 %", "–"]
    assert (alone["average of 3"], alone["over dense, points"]) == ("–", "–")


def test_a_whole_target_that_is_missing_is_counted_too() -> None:
    part = {key: hits for key, hits in L1.items() if key[0] != "c"}
    found = section([*files("dense", DENSE), *files("l1", part)])
    assert found["l1"]["c"] == "missing 2 of 2"
    assert found["l1"]["average of 3"] == "missing 2 of 6"


def test_seeds_that_differ_between_targets_are_no_full_set() -> None:
    grid = grid_of(files("dense", {("a", 0): 6, ("a", 1): 7, ("b", 1): 7, ("b", 2): 8}))
    assert (grid.seeds, grid.missing) == (3, 2)
    assert grid.lines[0].over_targets.mean is None


def test_a_dense_file_that_is_missing_leaves_the_difference_open() -> None:
    part = {key: hits for key, hits in DENSE.items() if key != ("b", 0)}
    dense, pruned = grid_of(files("dense", part), files("l1", L1)).lines
    assert dense.missing == 1
    assert pruned.over_targets.mean is not None
    assert pruned.over_dense is None


def test_one_seed_has_no_spread_and_the_bootstrap_for_limits() -> None:
    one = {key: hits for key, hits in L1.items() if key[1] == 0}
    found = section([*files("dense", {k: DENSE[k] for k in one}), *files("l1", one)])
    assert found["l1"]["average of 3"] == "56.7 %"
    assert "95 % over seeds" not in found["l1"]
    assert found["l1"]["over dense, points"].startswith("-3.3 [-")


def test_an_average_of_some_targets_says_of_how_many() -> None:
    some = {key: hits for key, hits in DENSE.items() if key[0] != "c"}
    assert section(files("dense", some))["dense"]["average of 2 of 3 targets"] == "65.0 ± 7.1 %"


def test_a_single_file_has_no_such_table() -> None:
    assert grids(tables(files("dense", {("a", 0): 6}))) == []
    assert len(grids(tables(files("dense", {("a", 0): 6, ("a", 1): 6})))) == 1


def test_recipes_that_differ_are_not_averaged() -> None:
    entries = files("dense", DENSE)
    for epochs, seed in ((2, 0), (9, 1)):
        for target in "abc":
            right = {**dict.fromkeys("abc", 9), target: 5}
            entries += entries_of("l1", target, seed, right, {"epochs": epochs})
    found = section(entries)
    assert found["l1 (recovery epochs 2)"]["average of 3"] == "missing 3 of 6"
    assert found["l1 (recovery epochs 9)"]["average of 3"] == "missing 3 of 6"


def changed(entries: list[Entry], **origin: Any) -> list[Entry]:
    return [
        replace(e, record=replace(e.record, subject=replace(
            e.record.subject, origin=replace(e.record.subject.origin, **origin))))
        for e in entries
    ]  # fmt: skip


def test_a_model_chosen_by_the_unseen_domain_stands_apart() -> None:
    oracle = []
    for entry in files("dense", DENSE):
        subject = entry.record.subject
        steps = tuple(replace(s, spec={**s.spec, "selection": "oracle"}) for s in subject.lineage)
        subject = replace(subject, lineage=steps, sha256=subject.sha256[::-1])
        oracle.append(replace(entry, id=entry.id[::-1], record=replace(
            entry.record, subject=subject)))  # fmt: skip
    found = grids(tables([*files("dense", DENSE), *oracle]))
    assert ["the unseen domain chose the epoch" in grid.title for grid in found] == [False, True]


@pytest.mark.parametrize("newer_first", [False, True])
def test_of_two_files_of_a_recipe_the_newer_one_stands(newer_first: bool) -> None:
    """Newer is what stands later in the records, whatever its digest is."""
    both = {("a", 0): 3, ("b", 0): 3}
    old, new = (
        [replace(e, record=with_digest(e.record, f"{first}{e.cell[1:]}")) for e in files(*of)]
        for first, of in (
            ("0" if newer_first else "f", ("dense", both)),
            ("f" if newer_first else "0", ("dense", dict.fromkeys(both, 8))),
        )
    )
    grid = grid_of(old, new)
    (line,) = grid.lines
    assert grid.replaced == 2
    assert line.over_targets.mean == pytest.approx(0.8)


def with_digest(record: Record, sha256: str) -> Record:
    return replace(record, subject=replace(record.subject, sha256=sha256))


def test_published_rows_stand_beside_pacs_only() -> None:
    classes = ("dog", "elephant", "giraffe", "guitar", "horse", "house", "person")
    names = {"a": "art_painting", "b": "cartoon", "c": "photo"}
    entries = files("dense", DENSE)
    assert "published" not in json.dumps([s.rows for s in over_targets_sections(tables(entries))])
    pacs = []
    for entry in changed(entries, data_name="PACS", classes=classes):
        record = entry.record
        assert isinstance(record, AccuracyRecord)
        origin = replace(record.subject.origin, target=names[record.subject.origin.target])
        record = replace(
            record, domain=names[record.domain], subject=replace(record.subject, origin=origin)
        )
        pacs.append(replace(entry, record=record))
    (found,) = over_targets_sections(tables(pacs))
    published = {row[0]: row for row in found.rows if row[0].startswith("published")}
    assert len(published) == 5
    deit = published["published: DeiT-S ERM at 224 px (Sultana et al. 2022)"]
    assert deit[1:6] == ("87.4 %", "81.5 %", "98.1 %", "84.9 %", "–")
    assert "other models" in found.text


@pytest.mark.parametrize(
    ("name", "classes", "averages"),
    [
        ("pacs", 7, [0.855, 0.881, 0.884, 0.849, 0.863]),
        ("Office-Home", 65, [0.665, 0.706, 0.724, 0.714, 0.715]),
        ("office_home", 65, [0.665, 0.706, 0.724, 0.714, 0.715]),
        ("pacs", 5, []),
        ("rotated-digits", 10, []),
    ],
)
def test_published_numbers(name: str, classes: int, averages: list[float]) -> None:
    assert [row.average for row in published_for(name, classes)] == averages


def test_the_average_over_targets_is_that_of_the_published_cells() -> None:
    (deit,) = (row for row in published_for("pacs", 7) if row.by_target)
    assert statistics.fmean(deit.by_target.values()) == pytest.approx(deit.average, abs=5e-4)


def test_seeds_are_read_from_the_fine_tuning() -> None:
    subject = entries_of("l1", "a", 3, {"a": 5})[0].record.subject
    assert seed_of(subject) == "3"
    steps = (*subject.lineage[:-1], replace(subject.lineage[-1], spec={"seed": 8}))
    assert seed_of(replace(subject, lineage=steps)) == "3 then 8"
    assert seed_of(replace(subject, lineage=subject.lineage[:1])) == "3"
    origin = replace(subject.origin, split_seed=4)
    assert seed_of(replace(subject, origin=origin)) == "3, split 4"


@pytest.mark.parametrize(
    ("cells", "mean", "spread", "missing"),
    [
        ([0.2, 0.4], 0.3, 0.1 * 2**0.5, 0),
        ([0.2], 0.2, None, 0),
        ([0.2, None, 0.4], None, None, 1),
        ([None], None, None, 1),
        ([], None, None, 0),
    ],
)
def test_average(
    cells: list[float | None], mean: float | None, spread: float | None, missing: int
) -> None:
    found = average(cells)
    assert found.mean == (None if mean is None else pytest.approx(mean))
    assert found.spread == (None if spread is None else pytest.approx(spread))
    assert (found.missing, found.interval is None) == (missing, spread is None)


def test_the_interval_over_seeds_is_students() -> None:
    interval = average([0.6, 0.7, 0.8]).interval
    assert interval is not None
    reach = 4.302653 * 0.1 / 3**0.5  # t of two degrees of freedom
    assert (interval.low, interval.high) == pytest.approx((0.7 - reach, 0.7 + reach))


def test_report_terminal_and_verify_know_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for entry in [*files("dense", DENSE), *files("l1", L1)]:
        append_records(tmp_path / "r.jsonl", entry.cell, [entry.record])
    done = report([tmp_path / "r.jsonl"], tmp_path / "out")
    (grid,) = json.loads(json.dumps(done.summary))[OVER_TARGETS]
    assert grid["rows"][1]["average"]["mean"] == pytest.approx((0.65 * 3 - 0.1) / 3)
    show(done.summary)
    assert "61.7 ± 7.1 %" in capsys.readouterr().err
    for name in ("report.md", "report.html"):
        assert "61.7 ± 7.1 %" in (done.path.parent / name).read_text()
    assert verify(VerifySpec(path=done.path.parent)).exit_code == 0
    page = done.path.parent / "report.md"
    page.write_text(page.read_text().replace("61.7 ± 7.1 %", "71.7 ± 7.1 %"))
    assert verify(VerifySpec(path=done.path.parent)).exit_code == 1


def test_without_a_speed_nothing_is_drawn_over_batches_and_the_overview_comes_first(
    tmp_path: Path,
) -> None:
    records = tmp_path / "records.jsonl"
    for entry in [*files("dense", DENSE), *files("l1", L1)]:
        append_records(records, entry.cell, [entry.record])
    out = report([records], tmp_path / "out").path.parent
    text = (out / "report.md").read_text()
    assert not list(out.glob("*.png")) and "![" not in text
    page = (out / "report.html").read_text()
    assert 'id="tradeoff"' in page and '"labels": ["reduction of MACs over dense"]' in page
    assert 'id="batch-sweep"' not in page
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings[0].startswith("## Over targets and seeds") and len(headings) > 2
