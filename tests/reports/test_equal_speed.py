"""At equal speed over targets and seeds: who is shown, who is set against whom, and by how much."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from dgprune.paired import Pairs, difference_interval
from dgprune.records import Entry
from dgprune.statistics import student_interval
from reports.accuracy_details import points_interval
from reports.budget_views import fast_enough
from reports.equal_speed import equal_speed_sections
from reports.rows import tables
from tests.fakes.accuracy import entries_of
from tests.fakes.missing import missing

DENSE = {(target, seed): 9 for target in "ab" for seed in (0, 1)}


def files(
    label: str, unseen: dict[tuple[str, int], int], *, sources: int = 9, narrow: int = 1
) -> list[Entry]:
    """Files with `unseen` of ten images right, blocks cut to a `narrow`-th of their MLP."""
    found = []
    for (target, seed), hits in unseen.items():
        right = {**dict.fromkeys("abc", sources), target: hits}
        for entry in entries_of(label, target, seed, right, {"narrow": narrow}):
            whole = entry.record.subject.structure
            blocks = tuple(replace(b, mlp_hidden=b.mlp_hidden // narrow) for b in whole.blocks)
            subject = replace(entry.record.subject, structure=replace(whole, blocks=blocks))
            found.append(replace(entry, record=replace(entry.record, subject=subject)))
    return found


def shown(*found: list[Entry]) -> list[dict[str, str]]:
    (section,) = equal_speed_sections(tables([entry for file in found for entry in file]))
    return [dict(zip(section.header, row, strict=True)) for row in section.rows]


def of_seed(hits: dict[tuple[str, int], int], seed: int) -> dict[tuple[str, int], int]:
    return {key: n for key, n in hits.items() if key[1] == seed}


def test_one_seed_is_set_against_the_way_with_the_best_validation() -> None:
    best, other = {("a", 0): 7, ("b", 0): 8}, {("a", 0): 5, ("b", 0): 9}
    rows = shown(
        files("dense", of_seed(DENSE, 0)),
        files("fisher", best, sources=9),
        files("l1", other, sources=8),
    )
    margin = difference_interval([Pairs(images=10, won=0, lost=2), Pairs(images=10, won=1, lost=0)])
    assert [row["criterion"] for row in rows] == ["fisher", "l1"]
    assert rows[0]["at least 1x"] == "75.0 % at 1.00x"
    assert rows[1]["at least 1x"] == f"70.0 % at 1.00x; {points_interval(margin)}"


def test_several_seeds_have_limits_over_seeds() -> None:
    best = {("a", 0): 8, ("b", 0): 8, ("a", 1): 9, ("b", 1): 8}
    other = {("a", 0): 6, ("b", 0): 7, ("a", 1): 6, ("b", 1): 6}
    rows = shown(files("dense", DENSE), files("fisher", best), files("l1", other, sources=8))
    margin = student_interval([-0.15, -0.25])
    assert margin is not None
    assert rows[0]["at least 1x"] == "82.5 % at 1.00x, 2 seeds"
    assert rows[1]["at least 1x"] == f"62.5 % at 1.00x, 2 seeds; {points_interval(margin)}"


def test_a_seed_that_lacks_a_target_is_left_out_and_counted() -> None:
    best = {("a", 0): 8, ("b", 0): 8, ("a", 1): 9, ("b", 1): 8}
    other = {("a", 0): 6, ("b", 0): 7, ("a", 1): 1}
    rows = shown(files("dense", DENSE), files("fisher", best), files("l1", other, sources=8))
    assert rows[1]["at least 1x"].startswith("65.0 % at 1.00x, 1 seed; -15.0 ")


def test_a_way_that_is_not_on_every_target_is_not_averaged() -> None:
    both = {("a", 0): 8, ("b", 0): 8}
    dense = files("dense", of_seed(DENSE, 0))
    rows = shown(dense, files("fisher", both), files("l1", {("a", 0): 9}), files("l2", both))
    assert [row["criterion"] for row in rows] == ["fisher", "l2"]


def test_at_a_speed_each_way_shows_what_its_user_would_ship() -> None:
    fast, slow = {("a", 0): 5, ("b", 0): 5}, {("a", 0): 8, ("b", 0): 8}
    fisher, l1 = (
        [cell.split(" at ")[0] for cell in row.values()]
        for row in shown(
            files("dense", of_seed(DENSE, 0)),
            files("fisher", fast, sources=7, narrow=64),
            files("fisher", slow, sources=9, narrow=4),
            files("l1", slow, sources=8, narrow=4),
            files("random", slow, sources=9, narrow=1),
        )
    )
    assert (fisher[0], fisher[1], fisher[-1]) == ("fisher", "80.0 %", "50.0 %")
    assert (l1[0], l1[1], l1[-1]) == ("l1", "80.0 %", "–")


def test_one_target_and_seed_is_no_table() -> None:
    place = {("a", 0): 8}
    found = [*files("dense", place), *files("fisher", place), *files("l1", place)]
    assert equal_speed_sections(tables(found)) == []


@pytest.mark.parametrize("split", ["", "b"])
def test_dense_files_alone_are_no_table(split: str) -> None:
    places = {("a", 0): 8, **({(split, 0): 8} if split else {})}
    assert equal_speed_sections(tables(files("dense", places))) == []


def test_a_target_without_pruned_files_leaves_no_average() -> None:
    """Dense alone there, or asked for and lost: no way of pruning has all targets then."""
    both = {("a", 0): 8, ("b", 0): 8}
    pruned = [*files("fisher", both), *files("l1", both)]
    known = [*files("dense", both), *pruned]
    assert len(equal_speed_sections(tables(known))) == 1
    assert equal_speed_sections(tables([*known, *files("dense", {("c", 0): 8})])) == []
    assert equal_speed_sections(tables(known), [missing("l1-global-50", "c", 0)]) == []
    other = missing("l1-global-50", "c", 0, model="another")
    assert len(equal_speed_sections(tables(known), [other])) == 1


def test_ways_that_share_no_seed_say_so() -> None:
    first, second = ({(target, seed): 8 for target in "ab"} for seed in (0, 1))
    rows = shown(files("dense", DENSE), files("fisher", first), files("l1", second, sources=8))
    assert rows[0]["at least 1x"] == "80.0 % at 1.00x, 1 seed"
    assert rows[1]["at least 1x"] == (
        "80.0 % at 1.00x, 1 seed; no seed or no images in common with fisher"
    )


@pytest.mark.parametrize(
    ("validated", "chosen"),
    [((0.9, 0.8), 0), ((0.8, 0.9), 1), ((None,), 0), ((0.9, None), None), ((None, None), None)],
)
def test_the_best_validation_is_chosen_only_where_all_were_validated(
    validated: tuple[float | None, ...], chosen: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reports.budget_views.gain", lambda row, table: 2.0)
    rows: list[Any] = [SimpleNamespace(source_accuracy=share) for share in validated]
    table: Any = None
    assert fast_enough(table, 1.5)(rows) is (None if chosen is None else rows[chosen])
