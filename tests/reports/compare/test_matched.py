"""Two sets of records: files find their partner, changes have the right sign and interval."""

import math
from dataclasses import replace

import pytest

from dgprune.records import AccuracyRecord, Entry
from dgprune.schema import digest
from dgprune.statistics import Interval
from reports.compare.matched import Comparison, compare, ratio_of
from reports.compare.sections import sections, warnings, words
from reports.rows import tables
from tests.fakes.accuracy import entries_of

RIGHT = {"a": 9, "b": 7}


def compared(first: list[Entry], second: list[Entry]) -> Comparison:
    return compare(tables(first), tables(second))


def of_other_images(entries: list[Entry]) -> list[Entry]:
    changed = []
    for entry in entries:
        assert isinstance(entry.record, AccuracyRecord)
        record = replace(entry.record, images_sha256=digest("others"))
        changed.append(replace(entry, record=record))
    return changed


def test_a_set_against_itself_has_not_moved() -> None:
    entries = [*entries_of("dense", "b", 0, RIGHT), *entries_of("l1", "b", 0, RIGHT)]
    found = compared(entries, entries)
    assert len(found.matched) == 2 and not found.only_first and not found.only_second
    assert all(m.same_bytes for m in found.matched)
    changes = [m.accuracy_change for m in found.matched]
    assert all(isinstance(change, Interval) and change.estimate == 0 for change in changes)
    assert not warnings(found)
    assert not any("beyond its interval" in text for text in words(found))


def test_a_change_is_second_minus_first_over_the_same_images() -> None:
    first = entries_of("dense", "b", 0, RIGHT)
    second = entries_of("dense", "b", 0, {**RIGHT, "b": 2})
    (matched,) = compared(first, second).matched
    change = matched.accuracy_change
    assert isinstance(change, Interval)
    assert change.estimate == pytest.approx(-0.5)
    assert change.high < 0
    assert any("fell beyond its interval: dense" in text for text in words(compared(first, second)))
    assert any("rose beyond its interval: dense" in text for text in words(compared(second, first)))


def test_other_images_give_a_difference_without_an_interval() -> None:
    first = entries_of("dense", "b", 0, RIGHT)
    second = of_other_images(entries_of("dense", "b", 0, {**RIGHT, "b": 2}))
    found = compared(first, second)
    assert found.matched[0].accuracy_change == pytest.approx(-0.5)
    assert any("did not see the same images" in text for text in warnings(found))
    assert not any("beyond its interval" in text for text in words(found))


def test_seeds_and_targets_are_not_mixed_and_what_is_alone_is_listed() -> None:
    first = [*entries_of("dense", "b", 0, RIGHT), *entries_of("l1", "b", 0, RIGHT)]
    second = [*entries_of("dense", "b", 1, RIGHT), *entries_of("l1", "a", 0, {"a": 5, "b": 9})]
    found = compared(first, second)
    assert not found.matched
    assert (len(found.only_first), len(found.only_second)) == (2, 2)
    assert any("nothing can be compared" in text for text in warnings(found))
    titles = [section.title for section in sections(found)]
    assert titles == ["Only in the first set", "Only in the second set"]


def test_of_several_files_of_one_cell_those_of_one_recipe_belong_together() -> None:
    ones = [entries_of("l1", "b", 0, {**RIGHT, "b": n}, {"epochs": n}) for n in (3, 6)]
    others = [entries_of("l1", "b", 0, {**RIGHT, "b": n}, {"epochs": n}) for n in (6, 3, 8)]
    found = compared([e for part in ones for e in part], [e for part in others for e in part])
    assert len(found.matched) == 2
    assert all(m.same_bytes for m in found.matched)
    assert len(found.only_second) == 1 and not found.only_first


def test_the_ratio_of_two_speedups_combines_their_limits() -> None:
    exact = Interval(low=2.0, estimate=2.0, high=2.0)
    wide = Interval(low=4 / 1.1, estimate=4.0, high=4 * 1.1)
    ratio = ratio_of(wide, exact)
    assert (ratio.low, ratio.estimate, ratio.high) == pytest.approx((2 / 1.1, 2.0, 2 * 1.1))
    both = ratio_of(wide, wide)
    assert both.estimate == 1
    assert both.high == pytest.approx(math.exp(math.sqrt(2) * math.log(1.1)))
