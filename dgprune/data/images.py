"""Images, loaded behind the guard that keeps the held-out domain away from the model."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from dgprune.data.dataset import DataSet, Sample
from dgprune.data.decoding import Unreadable, decoded
from dgprune.data.leaks import Purpose, without_leaks
from dgprune.data.pixel_cache import CachedDomain, cached_domain
from dgprune.data.preprocessing import Bytes, Preprocessing
from dgprune.data.split import Split
from dgprune.errors import DgpruneError
from dgprune.progress import SILENT, Progress

Integers = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


@dataclass(frozen=True, kw_only=True)
class Images:
    """Decoded images: labels [n], the samples they came from, and pixels that stay where they are.

    Image i is row `places[i, 1]` of `stacks[places[i, 0]]`, each stack [m, px, px, 3] uint8 in
    memory or, of a whole domain, in a memory-mapped file.
    """

    stacks: tuple[Bytes, ...]
    places: Integers
    labels: Integers
    samples: tuple[Sample, ...]

    def __len__(self) -> int:
        return len(self.samples)

    def take(self, indices: npt.ArrayLike) -> Bytes:
        """Pixels [k, px, px, 3] of the images at `indices` [k]; nothing else is read."""
        places = self.places[np.asarray(indices, dtype=np.int64)]
        used = np.unique(places[:, 0])
        if len(used) == 1:
            one: Bytes = self.stacks[used[0]][places[:, 1]]
            return one
        first = self.stacks[0]
        pixels = np.empty((len(places), *first.shape[1:]), first.dtype)
        for number in used:
            here = places[:, 0] == number
            pixels[here] = self.stacks[number][places[here, 1]]
        return pixels

    @cached_property
    def pixels(self) -> Bytes:
        """All pixels [n, px, px, 3], copied into memory on first use; `take` copies a part."""
        return self.take(np.arange(len(self)))

    @property
    def size_bytes(self) -> int:
        """Bytes of all pixels, wherever they are."""
        first = self.stacks[0]
        return len(self) * int(first[0].nbytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """How to load: what is held out, whether bad images may be skipped, who is told.

    `oracle` is True where a training asked to be selected by what is held out. With `may_be_empty`
    a part of the images may all be bad.
    """

    split: Split
    oracle: bool = False
    skip_bad_images: bool = False
    may_be_empty: bool = False
    progress: Progress = SILENT


def load_images(
    data: DataSet,
    samples: Sequence[Sample],
    preprocessing: Preprocessing,
    *,
    purpose: Purpose,
    loading: Loading,
) -> Images:
    """Decodes and resizes `samples`.

    Raises LeakError where `purpose` may not see a sample (dgprune.data.leaks), and DgpruneError
    where images cannot be read and `skip_bad_images` is off.
    """
    samples = without_leaks(samples, purpose, loading)
    if not samples:
        raise DgpruneError(
            f"{data.name} has no image for {purpose.value}; give each class three or more images "
            "in every source domain"
        )
    found = _find(data, samples, preprocessing, loading.progress)
    if found.bad:
        _report_bad(sorted(found.bad.values()), loading)
    kept = [i for i in range(len(samples)) if i not in found.bad]
    if not kept and not loading.may_be_empty:
        raise DgpruneError(f"{data.name}: none of {len(samples)} images could be read; repair them")
    return Images(
        stacks=tuple(found.stacks),
        places=found.places[kept],
        labels=np.asarray([samples[i].label for i in kept], dtype=np.int64),
        samples=tuple(samples[i] for i in kept),
    )


@dataclass(kw_only=True)
class _Found:
    """Where the pixels of each sample are, as in Images, and which have none, and why."""

    samples: Sequence[Sample]
    stacks: list[Bytes]
    places: Integers
    bad: dict[int, str]

    def put(self, i: int, row: int) -> None:
        """Sample i is at `row` of the stack that comes next."""
        self.places[i] = len(self.stacks), row

    def refuse(self, i: int, reason: str) -> None:
        """Sample i cannot be read."""
        self.bad[i] = f"{self.samples[i].key} ({reason})"


def _find(
    data: DataSet, samples: Sequence[Sample], preprocessing: Preprocessing, progress: Progress
) -> _Found:
    """Each sample in its domain's decoded file, or decoded here where it is in none."""
    places = np.full((len(samples), 2), -1, dtype=np.int64)
    found = _Found(samples=samples, stacks=[], places=places, bad={})
    by_domain: dict[str, list[int]] = defaultdict(list)
    for i, sample in enumerate(samples):
        by_domain[sample.domain].append(i)
    for domain, wanted in by_domain.items():
        cached = cached_domain(data, domain, preprocessing, images=len(wanted), progress=progress)
        if cached is not None:
            rows = (data.rows.get((domain, samples[i].key), -1) for i in wanted)
            _look_up(found, cached, dict(zip(wanted, rows, strict=True)))
    rest = [i for i in range(len(samples)) if places[i, 0] < 0 and i not in found.bad]
    if rest:
        pixels = decoded(data, [samples[i] for i in rest], preprocessing, progress)
        _keep(found, rest, pixels, preprocessing.image_size)
    return found


def _look_up(found: _Found, cached: CachedDomain, rows: Mapping[int, int]) -> None:
    for i, row in rows.items():
        if row in cached.unreadable:
            found.refuse(i, cached.unreadable[row])
        elif row >= 0:
            found.put(i, row)
    found.stacks.append(cached.pixels)


def _keep(found: _Found, rest: list[int], decoded: Iterator[Bytes | Unreadable], side: int) -> None:
    stack = np.empty((len(rest), side, side, 3), dtype=np.uint8)
    for row, (i, pixels) in enumerate(zip(rest, decoded, strict=True)):
        if isinstance(pixels, Unreadable):
            found.refuse(i, pixels.reason)
        else:
            stack[row] = pixels
            found.put(i, row)
    found.stacks.append(stack)


def _report_bad(bad: list[str], loading: Loading) -> None:
    named = "; ".join(bad[:3]) + ("; ..." if len(bad) > 3 else "")
    if not loading.skip_bad_images:
        raise DgpruneError(
            f"{len(bad)} unreadable image(s): {named}; repair them or pass --skip-bad-images"
        )
    loading.progress.line(f"skipped {len(bad)} unreadable image(s): {named}")
