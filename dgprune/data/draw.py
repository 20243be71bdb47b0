"""The draws by seed: the one that a split follows from, and the dealing of a part of its images."""

import zlib
from collections import defaultdict
from collections.abc import Sequence
from itertools import zip_longest

import numpy as np

from dgprune.data.dataset import DataSet, Sample

# Which dealing `balanced` is: raised where it gives other images, so that nothing computed on those
# of before is found under the same name. 1 left whole domains out (docs/decisions/0014).
DEALING = 2


def drawn_by(data: DataSet, seed: int) -> list[list[tuple[int, Sample]]]:
    """The images of each domain and class, numbered, in the order of a draw of its own."""
    groups: dict[tuple[str, int], list[tuple[int, Sample]]] = defaultdict(list)
    for numbered in enumerate(data.samples):
        groups[numbered[1].domain, numbered[1].label].append(numbered)
    drawn = []
    for (domain, label), group in groups.items():
        rng = np.random.default_rng([seed, label, zlib.crc32(domain.encode())])
        drawn.append([group[i] for i in rng.permutation(len(group))])
    return drawn


def in_order(drawn: Sequence[tuple[int, Sample]]) -> list[Sample]:
    """The samples of a part of a draw, as the data set has them."""
    return [sample for _, sample in sorted(drawn, key=lambda numbered: numbered[0])]


def balanced(samples: Sequence[Sample], count: int, *, seed: int) -> tuple[Sample, ...]:
    """`count` samples (or all), dealt in turn over the domains and, in each, over its classes.

    Where every domain has enough, two differ by at most one sample; so do two classes of a domain.
    The seed draws the images of each class, and where in the classes each domain begins: those that
    a last round leaves out differ from seed to seed, and as far as they can from domain to domain.
    """
    rng = np.random.default_rng(seed)
    piles: dict[str, dict[int, list[Sample]]] = defaultdict(lambda: defaultdict(list))
    for index in rng.permutation(len(samples)):
        piles[samples[index].domain][samples[index].label].append(samples[index])
    classes = rng.permutation(sorted({sample.label for sample in samples})).tolist()
    share, more = divmod(len(classes), max(len(piles), 1))
    dealt = []
    for place, domain in enumerate(rng.permutation(sorted(piles)).tolist()):
        begin = place * share + min(place, more)  # where what the one before may take ends
        dealt.append(_in_turn([piles[domain][c] for c in (*classes[begin:], *classes[:begin])]))
    return tuple(_in_turn(dealt)[:count])


def _in_turn(piles: Sequence[Sequence[Sample]]) -> list[Sample]:
    """The first of every pile, then the second of every pile that has one, and so on."""
    return [sample for part in zip_longest(*piles) for sample in part if sample is not None]
