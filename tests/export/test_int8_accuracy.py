"""What int8 may cost a domain: one per cent of its images, or the one image that is the least."""

import numpy as np
import pytest

from dgprune.data import Images, Sample
from export.parity import LADDER, ParityError, compare


def images_of(count: int) -> Images:
    places = np.stack([np.zeros(count, np.int64), np.arange(count)], axis=1)
    return Images(
        stacks=(np.zeros((count, 2, 2, 3), np.uint8),),
        places=places,
        labels=np.zeros(count, np.int64),
        samples=tuple(Sample(key=str(i), domain="d", label=0) for i in range(count)),
    )


@pytest.mark.parametrize(
    ("images", "lost", "passes"),
    [(60, 1, True), (90, 2, False), (250, 2, True), (250, 3, False), (100, 1, True)],
)
def test_a_domain_may_lose_one_per_cent_or_one_image(images: int, lost: int, passes: bool) -> None:
    right = np.tile(np.array([[1.0, 0.0]], np.float32), (images, 1))
    found = right.copy()
    found[:lost] = found[:lost, ::-1]
    if passes:
        parity = compare(right, found, images_of(images), LADDER["int8"], "onnxruntime")
        assert parity.domains["d"].correct == images - lost
    else:
        with pytest.raises(ParityError, match=f"on d falls by {lost} of {images} images"):
            compare(right, found, images_of(images), LADDER["int8"], "onnxruntime")
