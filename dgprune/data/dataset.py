"""What a data set is: samples that know their domain, and a reader that decodes one of them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

from PIL.Image import Image

from dgprune.errors import DgpruneError
from dgprune.schema import digest, nearest

ROTATED_DIGITS = "rotated-digits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One image: `key` finds it inside its data set, `label` is its index in `DataSet.classes`."""

    domain: str
    label: int
    key: str


class Reader(Protocol):
    """Decodes one sample."""

    def __call__(self, sample: Sample) -> Image:
        """The image in RGB; raises OSError where it cannot be decoded."""


@dataclass(kw_only=True)
class CacheUse:
    """What was asked of the decoded cache: images decoded without it, and whether it failed."""

    decoded: Counter[str] = field(default_factory=Counter)
    failed: bool = False


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """An opened data set.

    `file_digest` is the digest of every sample's name and size in bytes. `root` is the folder that
    the keys are files in, None where the samples are no files. `stamps` has a digest of each
    domain's folder, names, sizes and times of change; none where images are not read from files.
    """

    name: str
    classes: tuple[str, ...]
    domains: tuple[str, ...]
    samples: tuple[Sample, ...]
    file_digest: str
    read: Reader
    root: Path | None = None
    stamps: Mapping[str, str] = field(default_factory=dict)
    use: CacheUse = field(default_factory=CacheUse, compare=False, repr=False)

    @cached_property
    def rows(self) -> Mapping[tuple[str, str], int]:
        """By domain and key: the position of a sample among those of its domain."""
        counts: Counter[str] = Counter()
        found = {}
        for sample in self.samples:
            found[sample.domain, sample.key] = counts[sample.domain]
            counts[sample.domain] += 1
        return found

    def of_domain(self, domain: str) -> tuple[Sample, ...]:
        """All samples of `domain`; raises DgpruneError where there is no such domain."""
        if domain not in self.domains:
            known = ", ".join(self.domains)
            hint = nearest(domain, self.domains)
            raise DgpruneError(f"{self.name} has no domain {domain!r} (it has {known}){hint}")
        return tuple(sample for sample in self.samples if sample.domain == domain)


def open_data(source: str) -> DataSet:
    """The data set that `--data` names: `rotated-digits`, or a folder `domain/class/image`."""
    if source == ROTATED_DIGITS:
        from dgprune.data.digits import rotated_digits

        return rotated_digits()
    from dgprune.data.folder import image_folder
    from dgprune.data.known import how_to_get

    if not Path(source).is_dir() and (advice := how_to_get(source)):
        raise DgpruneError(f"--data {source} is no folder here; {advice}")
    return image_folder(Path(source))


def digest_of_samples(samples: tuple[Sample, ...], sizes: list[int]) -> str:
    """Digest of the names and sizes of all samples, in order."""
    rows = [[s.domain, s.label, s.key, size] for s, size in zip(samples, sizes, strict=True)]
    return digest(rows)
