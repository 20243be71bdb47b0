"""Images are taken where they are: the right ones, in any order, and no more than asked for."""

import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dgprune.data import Sample, open_data
from dgprune.data.decoding import decoded
from dgprune.data.folder import read_image
from tests.dgprune.data.loads import Listener, directly, load, preprocessing
from tests.fakes.images import images_of


@pytest.mark.parametrize("indices", [[0], [59, 0, 21, 21, 40], [-1, 5], [], range(60)])
def test_take_gives_the_images_asked_for(photos: Path, cache: Path, indices: list[int]) -> None:
    images, expected = load(photos), directly(photos)
    found = images.take(indices)
    assert found.shape == (len(indices), 16, 16, 3) and found.dtype == np.uint8
    assert np.array_equal(found, expected[list(indices)])
    found[...] = 0  # it is a copy
    assert np.array_equal(images.take(indices), expected[list(indices)])


def test_images_keep_the_order_of_their_samples(photos: Path, cache: Path) -> None:
    data = open_data(str(photos))
    order = np.random.default_rng(0).permutation(60)[:50]
    images = load(data, [data.samples[i] for i in order])
    assert images.samples == tuple(data.samples[i] for i in order)
    assert images.labels.tolist() == [data.samples[i].label for i in order]
    assert np.array_equal(images.pixels, directly(photos)[order])


def test_decoded_and_cached_images_mix(photos: Path, cache: Path) -> None:
    data = open_data(str(photos))
    load(data, data.of_domain("domain1"))
    few = [data.samples[i] for i in (45, 30, 2, 21)]
    images = load(data, few)
    assert len(images.stacks) == 2
    assert np.array_equal(images.pixels, directly(photos)[[45, 30, 2, 21]])


def test_images_at_hand(photos: Path) -> None:
    pixels = np.arange(4 * 2 * 2 * 3, dtype=np.uint8).reshape(4, 2, 2, 3)
    samples = tuple(Sample(domain="d", label=i, key=str(i)) for i in range(4))
    images = images_of(pixels, np.arange(4), samples)
    assert np.array_equal(images.pixels, pixels)
    assert np.array_equal(images.take([3, 1]), pixels[[3, 1]])


def test_more_images_than_memory_are_taken_in_parts(photos: Path, cache: Path) -> None:
    side = 700
    whole = 60 * side * side * 3  # 88 MB
    seen = []
    for _ in range(2):
        tracemalloc.start()
        images = load(photos, side=side)
        for start in range(0, 60, 4):
            images.take(range(start, start + 4))
        seen.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert seen[0] < 0.8 * whole, "decoding holds more than a block of images"
    assert seen[1] < 0.2 * whole


def test_decoding_does_not_run_ahead_of_a_slow_disk(photos: Path) -> None:
    data, read = open_data(str(photos)), []

    def counted(sample: Sample) -> Image.Image:
        read.append(sample)
        return Image.new("RGB", (1, 1))

    side = 1000  # ten images are 30 MB
    found = decoded(replace(data, read=counted), data.samples, preprocessing(side), Listener())
    next(found)
    end = time.monotonic() + 1
    while len(read) < 60 and time.monotonic() < end:
        time.sleep(0.02)
    assert len(read) < 15
    assert len(list(found)) == 59 and len(read) == 60


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_a_pixel_keep_their_grey(tmp_path: Path, suffix: str) -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint16) * 257, (16, 1))
    file = tmp_path / f"x.{suffix}"
    Image.fromarray(ramp).save(file)
    found = np.asarray(read_image(file))
    assert found.shape == (16, 256, 3)
    assert np.array_equal(found[0, :, 1], np.arange(256))


@pytest.mark.parametrize(("kind", "says"), [(np.float32, "floats"), (np.int32, "integers")])
def test_pixels_of_no_known_range_are_unreadable(tmp_path: Path, kind: type, says: str) -> None:
    file = tmp_path / "x.tif"
    Image.fromarray(np.linspace(0, 1, 64).reshape(8, 8).astype(kind)).save(file)
    with pytest.raises(OSError, match=f"32-bit {says} of no known range; convert"):
        read_image(file)
