"""Decoding, in parallel, behind the guard that keeps the held-out domain away from the model."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from dgprune.data.dataset import DataSet, Sample
from dgprune.data.leaks import Purpose, without_leaks
from dgprune.data.preprocessing import Bytes, Preprocessing, resize
from dgprune.data.split import Split
from dgprune.errors import DgpruneError
from dgprune.progress import SILENT, Progress


@dataclass(frozen=True, kw_only=True)
class Images:
    """Decoded images: pixels [n, px, px, 3] uint8, labels [n], and the samples they came from."""

    pixels: Bytes
    labels: np.ndarray[tuple[int], np.dtype[np.int64]]
    samples: tuple[Sample, ...]

    def __len__(self) -> int:
        return len(self.samples)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """How to load: what is held out, whether bad images may be skipped, who is told.

    `oracle` is True where a training asked to be selected by what is held out.
    """

    split: Split
    oracle: bool = False
    skip_bad_images: bool = False
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
    decoded, bad = _decode(data, samples, preprocessing, loading.progress)
    if bad:
        _report_bad(bad, loading)
    kept = [i for i, pixels in enumerate(decoded) if pixels is not None]
    if not kept:
        raise DgpruneError(f"{data.name}: none of {len(samples)} images could be read; repair them")
    return Images(
        pixels=np.stack([pixels for pixels in decoded if pixels is not None]),
        labels=np.asarray([samples[i].label for i in kept], dtype=np.int64),
        samples=tuple(samples[i] for i in kept),
    )


def _decode(
    data: DataSet, samples: Sequence[Sample], preprocessing: Preprocessing, progress: Progress
) -> tuple[list[Bytes | None], list[str]]:
    bad: list[str] = []

    def decode(sample: Sample) -> Bytes | None:
        try:
            image = data.read(sample)
            return resize(image, preprocessing.image_size, preprocessing.interpolation)
        except OSError as error:
            bad.append(f"{sample.key} ({error or type(error).__name__})")
            return None

    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        results = pool.map(decode, samples)
        return list(progress.track(results, len(samples), "decoding")), sorted(bad)


def _report_bad(bad: list[str], loading: Loading) -> None:
    named = "; ".join(bad[:3]) + ("; ..." if len(bad) > 3 else "")
    if not loading.skip_bad_images:
        raise DgpruneError(
            f"{len(bad)} unreadable image(s): {named}; repair them or pass --skip-bad-images"
        )
    loading.progress.line(f"skipped {len(bad)} unreadable image(s): {named}")
