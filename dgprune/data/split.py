"""Leave one domain out: the split, and the manifest that freezes it."""

import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dgprune.data.dataset import DataSet, Sample
from dgprune.schema import canonical_json, digest
from dgprune.store import write_text

VALIDATION_SHARE = 0.2


@dataclass(frozen=True, kw_only=True)
class Split:
    """Source domains cut into train and validation, and the held-out target, whole.

    `train` and `validation` hold source samples only.
    """

    data_name: str
    target: str
    seed: int
    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    held_out: tuple[Sample, ...]

    def manifest(self) -> dict[str, object]:
        """The frozen file list: which sample plays which role."""
        return {
            "data": self.data_name,
            "protocol": "leave-one-domain-out",
            "target": self.target,
            "seed": self.seed,
            "train": _keys(self.train),
            "validation": _keys(self.validation),
            "target_images": _keys(self.held_out),
        }

    def digest(self) -> str:
        """Digest of the manifest: records with the same one saw the same images."""
        return digest(self.manifest())

    def save(self, folder: Path) -> None:
        """Writes the manifest into `folder` under the name of its digest."""
        path = folder / f"split-{self.data_name[:40]}-{self.target[:40]}-{self.digest()[:12]}.json"
        if not path.is_file():
            write_text(path, canonical_json(self.manifest()) + "\n")


def leave_one_out(data: DataSet, target: str, *, seed: int = 0) -> Split:
    """Holds `target` out and cuts every class of every source domain 80 / 20, by seed.

    The cut depends on seed, domain, class and file names only, never on which domain is held out; a
    class with one image in a domain goes to train.
    """
    held_out = data.of_domain(target)
    groups: dict[tuple[str, int], list[Sample]] = defaultdict(list)
    for sample in data.samples:
        if sample.domain != target:
            groups[sample.domain, sample.label].append(sample)
    train: list[Sample] = []
    validation: list[Sample] = []
    for (domain, label), samples in groups.items():
        rng = np.random.default_rng([seed, label, zlib.crc32(domain.encode())])
        order = rng.permutation(len(samples))
        cut = round(VALIDATION_SHARE * len(samples))
        validation += [samples[i] for i in sorted(order[:cut])]
        train += [samples[i] for i in sorted(order[cut:])]
    return Split(
        data_name=data.name,
        target=target,
        seed=seed,
        train=tuple(train),
        validation=tuple(validation),
        held_out=held_out,
    )


def balanced(samples: Sequence[Sample], count: int, *, seed: int) -> tuple[Sample, ...]:
    """`count` samples (or all), dealt in turn over domains and classes, drawn by seed."""
    rng = np.random.default_rng(seed)
    piles: dict[tuple[str, int], list[Sample]] = defaultdict(list)
    for index in rng.permutation(len(samples)):
        piles[samples[index].domain, samples[index].label].append(samples[index])
    chosen: list[Sample] = []
    for depth in range(max((len(pile) for pile in piles.values()), default=0)):
        for key in sorted(piles):
            if depth < len(piles[key]):
                chosen.append(piles[key][depth])
    return tuple(chosen[:count])


def _keys(samples: Sequence[Sample]) -> list[list[str]]:
    return [[sample.domain, sample.key] for sample in samples]
