"""From a decoded image to a model's input, without torch, so that a device can repeat it."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
Floats = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
Bytes = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """A model's own input: resized to a square of `image_size` px, scaled to 0..1, normalised."""

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str


def resize(image: Image.Image, size_px: int, interpolation: str) -> Bytes:
    """Pixels [size_px, size_px, 3]: the whole image, resized (no crop)."""
    square = image.resize((size_px, size_px), RESAMPLING[interpolation])
    return np.asarray(square, dtype=np.uint8)


def to_input(pixels: Bytes, preprocessing: Preprocessing) -> Floats:
    """Model input [batch, 3, px, px] from pixels [batch, px, px, 3], in memory of its own size."""
    mean = np.asarray(preprocessing.mean, dtype=np.float32)[:, None, None]
    std = np.asarray(preprocessing.std, dtype=np.float32)[:, None, None]
    scaled = pixels.transpose(0, 3, 1, 2).astype(np.float32, order="C")
    scaled /= np.float32(255)
    scaled -= mean
    scaled /= std
    return scaled
