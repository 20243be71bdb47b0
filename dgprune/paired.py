"""Two files on the same images: McNemar's test, and an interval of the accuracy difference.

Both speak of the two files at hand. What another training seed would give is another question, and
`statistics.average` over seeds answers it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr

from dgprune.domain_metrics import require_same_images
from dgprune.records import AccuracyRecord
from dgprune.statistics import Interval

_DRAWS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Images of one domain: those that only the candidate, or only the baseline, has right."""

    images: int
    won: int
    lost: int

    @property
    def difference(self) -> float:
        """Accuracy of the candidate minus that of the baseline."""
        return (self.won - self.lost) / self.images


def pairs_of(candidate: AccuracyRecord, baseline: AccuracyRecord) -> Pairs:
    """The paired counts; raises DgpruneError where the two did not see the same images."""
    require_same_images(candidate, baseline)
    ours, theirs = (int(record.correct_hex, 16) for record in (candidate, baseline))
    return Pairs(
        images=candidate.images,
        won=(ours & ~theirs).bit_count(),
        lost=(theirs & ~ours).bit_count(),
    )


def mcnemar_p(pairs: Pairs) -> float:
    """Two-sided p of McNemar's exact test; 1 where the two are never apart.

    Where only one of the two is right, either is with probability 1/2 (McNemar 1947; Dietterich
    1998).
    """
    tail = float(bdtr(min(pairs.won, pairs.lost), pairs.won + pairs.lost, 0.5))
    return min(1.0, 2 * tail)  # the binomial of 1/2 is symmetric


def difference_interval(domains: Sequence[Pairs], seed: int = 0) -> Interval:
    """Mean over `domains` of the accuracy difference, with paired bootstrap limits (95 %).

    Images are drawn with replacement within each domain, which is stratified: every domain counts
    the same, and domains are not drawn, since they are the four or six that were asked for and
    too few to stand for others. Drawing n images is drawing how many of them are won, lost and
    neither, so 2000 draws cost nothing. Percentile limits (Efron 1979; paired by image as in
    Koehn 2004). Where the files never differ no draw would either; the limits are then those of the
    rule of three, 3 / n (Hanley and Lippman-Hand 1983).
    """
    estimate = sum(pairs.difference for pairs in domains) / len(domains)
    if not any(pairs.won or pairs.lost for pairs in domains):
        reach = 3 / min(pairs.images for pairs in domains) / len(domains)
        return Interval(low=max(-reach, -1.0), estimate=estimate, high=min(reach, 1.0))
    rng = np.random.default_rng(seed)
    draws = np.mean([_drawn(pairs, rng) for pairs in domains], axis=0)
    low, high = np.quantile(draws, (0.025, 0.975))
    return Interval(low=float(low), estimate=estimate, high=float(high))


def _drawn(pairs: Pairs, rng: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Differences of 2000 draws of `pairs.images` images."""
    n = pairs.images
    shares = [pairs.won / n, pairs.lost / n, (n - pairs.won - pairs.lost) / n]
    counts = rng.multinomial(n, shares, size=_DRAWS)
    found: np.ndarray[tuple[int], np.dtype[np.float64]] = (counts[:, 0] - counts[:, 1]) / n
    return found
