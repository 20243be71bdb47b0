"""How sure a file is of its predictions: likelihood, calibration error, and the temperature.

Guo et al. 2017, "On Calibration of Modern Neural Networks". Not the calibration of int8, which
chooses ranges of numbers and is the exporter's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BINS = 15
LOWEST, HIGHEST = 0.05, 20.0  # a validation set without an error would be fitted best by zero
Floats = np.ndarray[tuple[int, ...], np.dtype[np.floating]]
Labels = np.ndarray[tuple[int], np.dtype[np.int64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """Sums over the images of one domain, of logits divided by `temperature`.

    Bin i of 15 holds the images whose top-1 probability lies in (i / 15, (i + 1) / 15]: how many,
    the sum of that probability, and how many of them are right.
    """

    temperature: float
    nll_sum: float
    counts: tuple[int, ...]
    confidence_sums: tuple[float, ...]
    correct: tuple[int, ...]

    def __post_init__(self) -> None:
        if not len(self.counts) == len(self.confidence_sums) == len(self.correct) == BINS:
            raise ValueError(f"reliability needs {BINS} bins")
        if self.temperature <= 0 or self.images < 1:
            raise ValueError("reliability needs images and a temperature over 0")

    @property
    def images(self) -> int:
        """Images seen."""
        return sum(self.counts)

    @property
    def nll(self) -> float:
        """Mean negative log-likelihood of the true class, in nats."""
        return self.nll_sum / self.images

    @property
    def ece(self) -> float:
        """Expected calibration error, 0 to 1 (Guo et al. 2017, equation 3)."""
        pairs = zip(self.correct, self.confidence_sums, strict=True)
        return sum(abs(right - sure) for right, sure in pairs) / self.images

    @property
    def is_at_limit(self) -> bool:
        """Whether a temperature past the limits of the search would have fitted better."""
        return not 1.001 * LOWEST < self.temperature < HIGHEST / 1.001


def reliability(logits: Floats, labels: Labels, temperature: float = 1.0) -> Reliability:
    """What `logits` [n, classes] say of images whose true classes are `labels` [n]."""
    log_odds = _log_probabilities(logits, temperature)
    predicted = logits.argmax(1)  # not of the probabilities: two of them may round to 1
    confidence = np.exp(_of(log_odds, predicted))
    bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    return Reliability(
        temperature=temperature,
        nll_sum=float(-_of(log_odds, labels).sum()),
        counts=tuple(np.bincount(bins, minlength=BINS).tolist()),
        confidence_sums=tuple(np.bincount(bins, confidence, BINS).tolist()),
        correct=tuple(np.bincount(bins[predicted == labels], minlength=BINS).tolist()),
    )


def fit_temperature(logits: Sequence[Floats], labels: Sequence[Labels]) -> float:
    """The temperature, 0.05 to 20, at which the likelihood of all images is best.

    One entry a domain, of **source validation** only: fitted on the target it would be no
    calibration but an answer. Every image counts the same (Guo et al. 2017, section 4.2). The mean
    NLL is convex in 1 / temperature, so the search cannot end in a wrong valley.
    """
    from scipy.optimize import minimize_scalar

    pooled, truth = np.concatenate(list(logits)), np.concatenate(list(labels))

    def nll(log_temperature: float) -> float:
        log_odds = _log_probabilities(pooled, float(np.exp(log_temperature)))
        return float(-_of(log_odds, truth).mean())

    limits = (float(np.log(LOWEST)), float(np.log(HIGHEST)))
    found = minimize_scalar(nll, bounds=limits, method="bounded", options={"xatol": 1e-4})
    best = min((float(found.x), *limits), key=nll)  # the search itself never tries a limit
    return min(max(float(np.exp(best)), LOWEST), HIGHEST)


def _log_probabilities(logits: Floats, temperature: float) -> Floats:
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(1, keepdims=True)
    found: Floats = scaled - np.log(np.exp(scaled).sum(1, keepdims=True))
    return found


def _of(log_odds: Floats, classes: Labels | np.ndarray[tuple[int], np.dtype[np.intp]]) -> Floats:
    """One entry a row: that of its class in `classes`."""
    found: Floats = log_odds[np.arange(len(classes)), classes]
    return found
