"""The draw that a split follows from: by seed, for each domain and class by itself."""

import zlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from dgprune.data.dataset import DataSet, Sample


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
