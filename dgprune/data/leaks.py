"""The leak guard: which images may be loaded for which purpose.

What is held out may be looked at to report and for nothing else, whatever folder it is filed under:
a sample is known by its domain, by its key, and by the bytes of its file.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from dgprune.data.dataset import Sample
from dgprune.data.split import Split
from dgprune.errors import LeakError
from dgprune.schema import file_sha256

if TYPE_CHECKING:
    from dgprune.data.images import Loading

Key = TypeVar("Key", bound=Hashable)
_PROBE = 4096  # bytes from the middle of a file, which tell nearly all files of one size apart


class Purpose(Enum):
    """What images are loaded for.

    REPORT changes no weight and no choice, so it may see what is held out. ORACLE chooses by it,
    which only a training that asked for that may do: reports keep what came of it apart.
    """

    TRAIN = "training"
    SELECT = "model selection"
    ORACLE = "oracle selection"
    SCORE = "importance scores"
    REFIT = "the refit"
    CALIBRATE = "calibration"
    CHECK = "parity"
    TIME = "timing"
    REPORT = "reporting"


def without_leaks(
    samples: Sequence[Sample], purpose: Purpose, loading: "Loading"
) -> Sequence[Sample]:
    """The samples that may be loaded for `purpose`.

    Raises LeakError where one is held out, and where the file of one is a copy of a held-out image,
    or a link to it; with `skip_bad_images` such copies are left out and named.
    """
    if purpose is Purpose.REPORT or (purpose is Purpose.ORACLE and loading.oracle):
        return samples
    split = loading.split
    _refuse_held_out(samples, purpose, split)
    found = sorted(copies(samples, split), key=str)
    if not found:
        return samples
    told = "; ".join(map(str, found[:3])) + ("; ..." if len(found) > 3 else "")
    if not loading.skip_bad_images:
        raise LeakError(
            f"{told}: {purpose.value} may not see it; remove the copies, or pass "
            "--skip-bad-images to leave them out"
        )
    loading.progress.line(f"left out {len(found)} of {len(samples)} images: {told}")
    copied = {copy.sample for copy in found}
    return tuple(sample for sample in samples if sample not in copied)


def _refuse_held_out(samples: Sequence[Sample], purpose: Purpose, split: Split) -> None:
    held_out = {sample.key for sample in split.held_out}
    for sample in samples:
        if split.target and (sample.domain == split.target or sample.key in held_out):
            raise LeakError(
                f"{sample.key} is of the held-out domain {split.target!r}; "
                f"{purpose.value} may use source domains only"
            )
        if sample.key in held_out:
            raise LeakError(
                f"{sample.key} is a held-out test image of domain {sample.domain!r}; "
                f"{purpose.value} may use training and validation images only"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """An image that holds the bytes of a held-out one."""

    sample: Sample
    held_out: Sample
    is_link: bool

    def __str__(self) -> str:
        kind = "a link to" if self.is_link else "byte for byte"
        return f"{self.sample.key} is {kind} the held-out image {self.held_out.key}"


def copies(samples: Sequence[Sample], split: Split) -> Iterator[Copy]:
    """Every one of `samples` whose file is that of a held-out image, or equal to it.

    Only files of one size are opened, and only those read whole whose middles are equal. A data set
    that is no folder has no files to compare.
    """
    root = split.root
    if root is None:
        return
    sizes = _by(samples, lambda sample: _size(root / sample.key))
    held_sizes = _by(split.held_out, lambda sample: _size(root / sample.key))
    for size in sizes.keys() & held_sizes.keys() - {0}:  # the loader tells of empty files

        def middle(sample: Sample, size: int = size) -> bytes:
            return _middle(root / sample.key, size)

        middles, held_middles = _by(sizes[size], middle), _by(held_sizes[size], middle)
        for shared in middles.keys() & held_middles.keys():
            yield from _equal(root, middles[shared], held_middles[shared])


def _equal(root: Path, samples: Sequence[Sample], held_out: Sequence[Sample]) -> Iterator[Copy]:
    twins = {file_sha256(root / twin.key): twin for twin in reversed(held_out)}
    for sample in samples:
        path = root / sample.key
        twin = twins.get(file_sha256(path))
        if twin is not None:
            linked = path.samefile(root / twin.key)
            yield Copy(sample=sample, held_out=twin, is_link=linked)


def _by(samples: Sequence[Sample], key: Callable[[Sample], Key]) -> dict[Key, list[Sample]]:
    found: dict[Key, list[Sample]] = defaultdict(list)
    for sample in samples:
        found[key(sample)].append(sample)
    return found


def _size(path: Path) -> int:
    """Bytes of a file; 0 where it is gone, which the loader tells of."""
    return path.stat().st_size if path.is_file() else 0


def _middle(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, (size - _PROBE) // 2))
        return file.read(_PROBE)
