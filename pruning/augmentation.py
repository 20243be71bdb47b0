"""Random views of a batch of images, made on the device that holds them."""

import torch
from torch import Tensor
from torch.nn import functional

from pruning.device import to_device

KINDS = ("photo", "style", "glyph", "none")


def augment(images: Tensor, kind: str, generator: torch.Generator) -> Tensor:
    """Random views [b, 3, px, px] of `images` [b, 3, px, px], values 0 to 1.

    `photo` follows DomainBed (crop of 70 to 100 %, flip, colour jitter, grey now and then); `style`
    is `photo` with amplitudes of another image of the batch mixed in; `glyph` only crops and
    shifts, since a flipped digit is another one.
    """
    if kind == "none" or not len(images):
        return images
    if kind == "glyph":
        return _crop(images, smallest=0.8, flip=False, generator=generator)
    views = _crop(images, smallest=0.7, flip=True, generator=generator)
    views = _colour(views, generator)
    return mix_amplitudes(views, generator) if kind == "style" else views


def mix_amplitudes(images: Tensor, generator: torch.Generator) -> Tensor:
    """Another image's amplitudes of the Fourier transform, by a random share; phases stay.

    Amplitudes hold much of the style and phases the shapes (Xu et al. 2021, equations 3 to 5, where
    the largest share is 1), so that a batch of several domains shows every image in several styles.
    """
    b = images.shape[0]
    partner = to_device(torch.randperm(b, generator=generator), images.device)
    share = _uniform(0.0, 1.0, b, images, generator).view(b, 1, 1, 1)
    spectrum = torch.fft.rfft2(images)
    amplitudes = spectrum.abs()
    mixed = amplitudes.lerp(amplitudes[partner], share)
    views: Tensor = torch.fft.irfft2(torch.polar(mixed, spectrum.angle()), s=images.shape[-2:])
    return views.clamp(0, 1)


def _uniform(
    low: float, high: float, count: int, like: Tensor, generator: torch.Generator
) -> Tensor:
    drawn = torch.rand(count, generator=generator) * (high - low) + low
    return to_device(drawn.to(like.dtype), like.device)


def _crop(images: Tensor, *, smallest: float, flip: bool, generator: torch.Generator) -> Tensor:
    """Square crops of `smallest` to all of the area, enlarged to the full size."""
    b = images.shape[0]
    scale = _uniform(smallest, 1.0, b, images, generator).sqrt()
    room = 1 - scale
    theta = images.new_zeros(b, 2, 3)
    mirror = (
        1 - 2 * _uniform(0, 1, b, images, generator).round() if flip else torch.ones_like(scale)
    )
    theta[:, 0, 0], theta[:, 1, 1] = scale * mirror, scale
    theta[:, 0, 2] = room * _uniform(-1, 1, b, images, generator)
    theta[:, 1, 2] = room * _uniform(-1, 1, b, images, generator)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _colour(images: Tensor, generator: torch.Generator) -> Tensor:
    """Brightness, contrast and saturation by up to 30 %, and grey for one image in ten."""
    b = images.shape[0]

    def factor() -> Tensor:
        return _uniform(0.7, 1.3, b, images, generator).view(b, 1, 1, 1)

    views = images * factor()
    views = (views - views.mean((1, 2, 3), keepdim=True)) * factor() + views.mean(
        (1, 2, 3), keepdim=True
    )
    weights = images.new_tensor((0.299, 0.587, 0.114)).view(1, 3, 1, 1)
    grey = (views * weights).sum(1, keepdim=True)
    saturation = factor()
    saturation = torch.where(factor() < 0.76, torch.zeros_like(saturation), saturation)
    return ((views - grey) * saturation + grey).clamp(0, 1)
