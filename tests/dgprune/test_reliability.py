"""Calibration: known answers, a perfect and a boastful predictor, a temperature found again."""

import math

import numpy as np
import pytest

from dgprune.reliability import BINS, HIGHEST, LOWEST, Reliability, fit_temperature, reliability


def two_classes(confidences: list[float]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Logits that say class 0 with these probabilities."""
    return np.array([[math.log(p), math.log(1 - p)] for p in confidences])


def test_sums_and_bins_of_four_images_by_hand() -> None:
    labels = np.array([0, 1, 0, 0])
    found = reliability(two_classes([0.9, 0.9, 0.6, 0.7]), labels)
    assert found.nll == pytest.approx(-(math.log(0.9 * 0.1 * 0.6 * 0.7)) / 4)
    filled = {i: (n, found.correct[i]) for i, n in enumerate(found.counts) if n}
    assert filled == {8: (1, 1), 10: (1, 1), 13: (2, 1)}  # 0.6 is 9 / 15, the top of bin 8
    assert found.confidence_sums[13] == pytest.approx(1.8)
    assert found.ece == pytest.approx((0.4 + 0.3 + 0.8) / 4)


def test_a_confidence_of_one_and_of_an_edge_are_in_a_bin() -> None:
    sure = reliability(np.array([[500.0, -500.0]]), np.array([0]))
    assert (sure.counts[BINS - 1], sure.ece, sure.nll) == (1, 0.0, 0.0)
    wrong = reliability(np.array([[500.0, -500.0]]), np.array([1]))
    assert (wrong.ece, wrong.nll) == (1.0, 1000.0)  # finite: no probability is rounded to zero


def test_a_calibrated_predictor_has_no_error_and_a_boastful_one_has_it_all() -> None:
    labels = np.array([0] * 7 + [1] * 3)
    assert reliability(two_classes([0.7] * 10), labels).ece == pytest.approx(0, abs=1e-12)
    assert reliability(two_classes([0.99] * 10), labels).ece == pytest.approx(0.29)


def test_errors_of_bins_do_not_cancel() -> None:
    labels = np.array([0] * 10 + [0] * 4 + [1] * 6)  # 0.7 is too little, 0.9 is too much
    found = reliability(two_classes([0.7] * 10 + [0.9] * 10), labels)
    assert found.ece == pytest.approx((10 * 0.3 + 10 * 0.5) / 20)


def drawn(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose softmax is the truth, and 20000 classes drawn from it."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (20000, 5))
    noise = rng.gumbel(size=logits.shape)
    return logits, (logits + noise).argmax(1)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_a_known_temperature_is_found_again(temperature: float) -> None:
    logits, labels = drawn()
    found = fit_temperature([temperature * logits], [labels])
    assert found == pytest.approx(temperature, rel=0.03)
    before = reliability(temperature * logits, labels)
    after = reliability(temperature * logits, labels, found)
    assert after.nll <= before.nll
    assert after.ece < 0.012
    assert after.correct != before.correct or temperature == 1
    assert sum(after.correct) == sum(before.correct)


def test_every_image_counts_the_same_however_they_lie_in_domains() -> None:
    logits, labels = drawn(1)
    whole = fit_temperature([2 * logits], [labels])
    cut = fit_temperature([2 * logits[:100], 2 * logits[100:]], [labels[:100], labels[100:]])
    assert cut == pytest.approx(whole, rel=1e-6)


def test_a_temperature_past_the_limits_stops_there_and_says_so() -> None:
    sure = np.array([[2.0, 0.0], [0.0, 2.0]])
    right, wrong = np.array([0, 1]), np.array([1, 0])
    assert fit_temperature([sure], [right]) == pytest.approx(LOWEST)
    assert fit_temperature([sure], [wrong]) == pytest.approx(HIGHEST)
    for labels in (right, wrong):
        assert reliability(sure, labels, fit_temperature([sure], [labels])).is_at_limit
    assert not reliability(sure, right).is_at_limit


def test_bins_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="15 bins"):
        Reliability(temperature=1, nll_sum=0, counts=(1,), confidence_sums=(1.0,), correct=(1,))
