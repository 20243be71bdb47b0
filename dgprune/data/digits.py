"""`rotated-digits`: scikit-learn's 1,797 handwritten digits, with rotation as the domain.

Like DomainBed's RotatedMNIST (Gulrajani and Lopez-Paz 2021), each image belongs to one domain only,
so that the held-out domain differs in its images as well as in its angle.
"""

from functools import cache

import numpy as np
from PIL import Image

from dgprune.data.dataset import ROTATED_DIGITS, DataSet, Sample, digest_of_samples

ANGLES = (0, 15, 30, 45, 60, 75)
_SIDE_PX = 32


def rotated_digits() -> DataSet:
    """1,797 images of ten classes, dealt in turn to six domains."""
    pixels, labels = _digits()
    samples = tuple(
        Sample(domain=f"rot{ANGLES[i % len(ANGLES)]:02d}", label=int(label), key=str(i))
        for i, label in enumerate(labels)
    )
    return DataSet(
        name=ROTATED_DIGITS,
        classes=tuple(str(digit) for digit in range(10)),
        domains=tuple(f"rot{angle:02d}" for angle in ANGLES),
        samples=samples,
        file_digest=digest_of_samples(samples, [int(image.sum()) for image in pixels]),
        read=_read,
    )


def _read(sample: Sample) -> Image.Image:
    """One digit, enlarged from 8 to 32 px and turned by the angle of its domain."""
    pixels, _ = _digits()
    small = Image.fromarray((pixels[int(sample.key)] * (255 / 16)).astype(np.uint8))
    large = small.resize((_SIDE_PX, _SIDE_PX), Image.Resampling.BICUBIC)
    return large.rotate(float(sample.domain[3:]), Image.Resampling.BICUBIC).convert("RGB")


@cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits  # half a second: paid only where it is used

    bunch = load_digits()
    return bunch.images, bunch.target
