"""Two files on the same images, and one over its domains: known answers, coverage, refusals."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from dgprune.domain_metrics import (
    agreement,
    mean_accuracy,
    require_same_images,
    retention,
    source_target_gap,
    worst_domain,
)
from dgprune.errors import DgpruneError
from dgprune.paired import Pairs, difference_interval, mcnemar_p, pairs_of
from dgprune.records import AccuracyRecord
from tests.fakes.accuracy import seen

LABELS = [0, 0, 1, 1, 2]
DENSE = seen(LABELS, [0, 0, 1, 2, 3])  # 3 of 5
OURS = seen(LABELS, [1, 0, 1, 1, 0])  # 3 of 5; the same prediction for 2


def test_measures_over_domains_by_hand() -> None:
    records = [
        seen([0] * 10, [0] * 9 + [1], domain="a", role="source-val"),
        seen([0] * 4, [0] * 4, domain="c", role="source-val"),
        seen([0] * 5, [0, 0, 0, 1, 1], domain="b"),
    ]
    assert mean_accuracy(records) == pytest.approx((0.9 + 1 + 0.6) / 3)
    assert worst_domain(records).domain == "b"
    assert source_target_gap(records) == pytest.approx(0.95 - 0.6)
    assert source_target_gap(records[:2]) is None
    assert source_target_gap(records[2:]) is None


def test_agreement_and_retention_by_hand() -> None:
    assert agreement(OURS, DENSE) == pytest.approx(2 / 5)
    assert agreement(DENSE, DENSE) == 1
    assert retention(OURS, DENSE) == 1
    assert retention(seen(LABELS, [1] * 5), DENSE) == pytest.approx(2 / 3)
    assert retention(OURS, seen([0, 0, 1, 1, 2], [3] * 5)) is None


def test_agreement_counts_wrong_predictions_that_are_equal() -> None:
    assert agreement(seen([0, 0], [1, 1]), seen([0, 0], [1, 2])) == 0.5


def test_pairs_count_images_and_not_totals() -> None:
    assert pairs_of(OURS, DENSE) == Pairs(images=5, won=1, lost=1)
    first_wrong = seen([0, 0, 0], [1, 0, 0])  # a leading zero bit is an image too
    assert pairs_of(first_wrong, seen([0, 0, 0], [0, 0, 1])) == Pairs(images=3, won=1, lost=1)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (seen(LABELS, [0] * 5, images="others"), "other files"),
        (seen(LABELS[:4], [0] * 4), "5 against 4"),
        (seen(LABELS, [0] * 5, domain="a"), "b, target against a, target"),
        (seen(LABELS, [0] * 5, role="source-val"), "target against b, source-val"),
        (replace(seen(LABELS[::-1], [0] * 5), images_sha256=None, skipped=1), "skipped"),
        (replace(seen([0, 0, 1, 1, 3], [0] * 5), images_sha256=None), "other classes"),
    ],
)
def test_other_images_are_refused(other: AccuracyRecord, reason: str) -> None:
    for compare in (require_same_images, agreement, retention, pairs_of):
        with pytest.raises(DgpruneError, match=rf"did not see the same images.*{reason}"):
            compare(DENSE, other)


def test_old_records_of_the_same_split_may_be_compared_but_not_agree() -> None:
    old = replace(DENSE, images_sha256=None, predictions_hex=None)
    assert pairs_of(OURS, old) == pairs_of(OURS, DENSE)
    assert agreement(OURS, old) is None
    origin = replace(old.subject.origin, split_digest="another")
    with pytest.raises(DgpruneError, match="other data or split"):
        pairs_of(OURS, replace(old, subject=replace(old.subject, origin=origin)))


def test_mcnemar_is_the_exact_binomial() -> None:
    assert mcnemar_p(Pairs(images=100, won=1, lost=9)) == pytest.approx(22 / 1024)  # by hand
    assert mcnemar_p(Pairs(images=100, won=0, lost=0)) == 1
    assert mcnemar_p(Pairs(images=100, won=5, lost=5)) == pytest.approx(1)
    for won, lost in ((3, 12), (40, 21), (0, 6)):
        expected = binomtest(min(won, lost), won + lost).pvalue
        tail = 2 * binom.cdf(min(won, lost), won + lost, 0.5)
        found = mcnemar_p(Pairs(images=500, won=won, lost=lost))
        assert found == pytest.approx(expected)
        assert found == pytest.approx(min(tail, 1))


def test_mcnemar_does_not_see_what_both_have_right() -> None:
    few, many = Pairs(images=20, won=2, lost=8), Pairs(images=9000, won=2, lost=8)
    assert mcnemar_p(few) == mcnemar_p(many)


def test_the_interval_of_a_difference_covers_it_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    images, shares = 300, (0.05, 0.12, 0.83)
    inside = 0
    for trial in range(400):
        won, lost, _ = rng.multinomial(images, shares)
        found = difference_interval([Pairs(images=images, won=won, lost=lost)], seed=trial)
        inside += found.low <= shares[0] - shares[1] <= found.high
    assert 0.92 <= inside / 400 <= 0.98


def test_pairing_makes_the_interval_narrow() -> None:
    paired = difference_interval([Pairs(images=1000, won=10, lost=20)])
    unpaired = 1.96 * np.sqrt(2 * 0.7 * 0.3 / 1000)  # of two accuracies near 70 %
    assert paired.high - paired.low < unpaired
    assert paired.low < paired.estimate == -0.01 < paired.high


def test_every_domain_counts_the_same_and_is_drawn_apart() -> None:
    small, large = Pairs(images=50, won=10, lost=0), Pairs(images=5000, won=0, lost=500)
    found = difference_interval([small, large])
    assert found.estimate == pytest.approx((0.2 - 0.1) / 2)
    spread = np.sqrt(0.2 * 0.8 / 50 + 0.1 * 0.9 / 5000) / 2
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * spread, rel=0.1)


def test_the_same_seed_gives_the_same_interval() -> None:
    pairs = [Pairs(images=9000, won=900, lost=400)]
    assert difference_interval(pairs) == difference_interval(pairs)
    assert difference_interval(pairs) != difference_interval(pairs, seed=1)


def test_files_that_never_differ_are_not_proven_equal() -> None:
    found = difference_interval([Pairs(images=100, won=0, lost=0)])
    assert (found.low, found.estimate, found.high) == (-0.03, 0, 0.03)
