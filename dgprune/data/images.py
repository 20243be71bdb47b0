"""Decoding, in parallel, behind the guard that keeps the held-out domain away from the model."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum

import numpy as np

from dgprune.data.dataset import DataSet, Sample
from dgprune.data.preprocessing import Bytes, Preprocessing, resize
from dgprune.errors import DgpruneError, LeakError
from dgprune.progress import SILENT, Progress


class Purpose(Enum):
    """What images are loaded for.

    Only REPORT, which changes no weight and no choice, may see the target.
    """

    TRAIN = "training"
    SELECT = "model selection"
    SCORE = "importance scores"
    CALIBRATE = "calibration"
    CHECK = "parity"
    TIME = "timing"
    REPORT = "reporting"


@dataclass(frozen=True, kw_only=True)
class Images:
    """Decoded images: pixels [n, px, px, 3] uint8, labels [n], and the samples they came from."""

    pixels: Bytes
    labels: np.ndarray[tuple[int], np.dtype[np.int64]]
    samples: tuple[Sample, ...]

    def __len__(self) -> int:
        return len(self.samples)

    def take(self, indices: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Bytes:
        """Pixels [k, px, px, 3] of the images at `indices` [k]."""
        return self.pixels[indices]

    @property
    def size_bytes(self) -> int:
        """Bytes of all pixels."""
        return self.pixels.nbytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """How to load: the domain that is held out, whether bad images may be skipped, who is told."""

    target: str
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

    Raises LeakError where a sample of the held-out domain is asked for anything but reporting, and
    DgpruneError where images cannot be read and `skip_bad_images` is off.
    """
    if purpose is not Purpose.REPORT:
        for sample in samples:
            if sample.domain == loading.target:
                raise LeakError(
                    f"{sample.key} is of the held-out domain {sample.domain!r}; "
                    f"{purpose.value} may use source domains only"
                )
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
