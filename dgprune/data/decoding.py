"""Decoding, in parallel and in order, with a bounded number of images in memory."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from dgprune.data.dataset import DataSet, Sample
from dgprune.data.preprocessing import Bytes, Preprocessing, resize
from dgprune.progress import Progress

_BLOCK_BYTES = 32 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """Why an image could not be read; `denied` where the system refused, not the decoder."""

    reason: str
    denied: bool = False


def decoded(
    data: DataSet, samples: Sequence[Sample], preprocessing: Preprocessing, progress: Progress
) -> Iterator[Bytes | Unreadable]:
    """Pixels [px, px, 3] of each of `samples`, in order, or why there are none."""
    size = preprocessing.image_size

    def decode(sample: Sample) -> Bytes | Unreadable:
        try:
            return resize(data.read(sample), size, preprocessing.interpolation)
        except OSError as error:
            reason = str(error) or type(error).__name__
            return Unreadable(reason=reason, denied=error.errno is not None)

    workers = len(os.sched_getaffinity(0))
    block = max(workers, _BLOCK_BYTES // (size * size * 3))
    with ThreadPoolExecutor(max_workers=workers) as pool:
        results = (
            found
            for start in range(0, len(samples), block)
            for found in pool.map(decode, samples[start : start + block])
        )
        yield from progress.track(results, len(samples), "decoding")
