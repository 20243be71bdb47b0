"""A folder of the shape `domain/class/image`: PACS, Office-Home and DomainBed's others."""

import os
import struct
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from dgprune.data.dataset import DataSet, Sample, digest_of_samples
from dgprune.errors import DgpruneError
from dgprune.schema import digest
from dgprune.store import MARKER

# Above 90 megapixels Pillow warns in two lines; above 179 it refuses, which is a bad image here.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# What Pillow's decoders raise on damaged files.
_DAMAGED = (UnidentifiedImageError, SyntaxError, ValueError, EOFError, struct.error)
SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})


def image_folder(root: Path) -> DataSet:
    """The data set under `root`; raises DgpruneError where it is not `domain/class/image`."""
    if not root.is_dir():
        what = "is a file" if root.exists() else "no such folder"
        raise DgpruneError(
            f"--data {root}: {what}; give a folder domain/class/image, or rotated-digits"
        )
    domains = folders_in(root)
    if len(domains) < 2:
        raise DgpruneError(
            f"--data {root} has {len(domains)} domain(s); domain generalisation needs two or more "
            "(folders domain/class/image)"
        )
    classes = _common_classes(root, domains)
    found = [
        (Sample(domain=domain, label=label, key=path.relative_to(root).as_posix()), path)
        for domain in domains
        for label, name in enumerate(classes)
        for path in images_in(root / domain / name)
    ]
    _require_every_domain(root, domains, found)
    _require_portable_names(found)
    samples = tuple(sample for sample, _ in found)
    stats = [path.stat() for _, path in found]

    def read(sample: Sample) -> Image.Image:
        return read_image(root / sample.key)

    return DataSet(
        name=root.resolve().name,
        classes=classes,
        domains=domains,
        samples=samples,
        file_digest=digest_of_samples(samples, [stat.st_size for stat in stats]),
        read=read,
        stamps=_stamps(root, samples, stats),
        root=root,
    )


def read_image(path: Path) -> Image.Image:
    """The decoded image in RGB; raises OSError, without a number where it is the file's fault."""
    try:
        with Image.open(path) as image:
            return _in_rgb(image)
    except (*_DAMAGED, Image.DecompressionBombError) as error:
        raise OSError(str(error)) from error


def _in_rgb(image: Image.Image) -> Image.Image:
    """The image in 8 bits a channel; raises ValueError where nothing tells what is white."""
    if image.mode.startswith("I;16"):  # Pillow's own conversion cuts everything above 255 off
        levels = np.asarray(image.convert("I")) / 257
        return Image.fromarray(levels.round().astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(
            f"its pixels are 32-bit {'integers' if image.mode == 'I' else 'floats'} of no known "
            "range; convert it to 8 or 16 bits"
        )
    return image.convert("RGB")


def _stamps(root: Path, samples: tuple[Sample, ...], stats: list[os.stat_result]) -> dict[str, str]:
    """By domain: a digest that changes when one of its files does."""
    rows: dict[str, list[list[str | int]]] = defaultdict(list)
    for sample, stat in zip(samples, stats, strict=True):
        rows[sample.domain].append([sample.key, stat.st_size, stat.st_mtime_ns])
    place = str(root.resolve())  # names, sizes and times alone can be those of other images
    return {domain: digest([place, files]) for domain, files in rows.items()}


def folders_in(folder: Path) -> tuple[str, ...]:
    """Folders in `folder` that can hold images: not hidden, not an archiver's, not a store."""
    return tuple(
        sorted(
            path.name
            for path in folder.iterdir()
            if path.is_dir()
            and not path.name.startswith((".", "__"))
            and not (path / MARKER).is_file()
        )
    )


def images_in(folder: Path) -> list[Path]:
    """Files in `folder` that are images by their names, sorted."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")
    )


def _common_classes(root: Path, domains: tuple[str, ...]) -> tuple[str, ...]:
    first = folders_in(root / domains[0])
    for domain in domains[1:]:
        classes = folders_in(root / domain)
        if classes != first:
            odd = sorted(set(classes) ^ set(first))
            raise DgpruneError(
                f"--data {root}: domains {domains[0]!r} and {domain!r} have different classes "
                f"({', '.join(odd[:5])}); every domain needs the same class folders"
            )
    return first


def _require_every_domain(
    root: Path, domains: tuple[str, ...], found: list[tuple[Sample, Path]]
) -> None:
    if not found:
        raise DgpruneError(f"--data {root} has no image ({', '.join(sorted(SUFFIXES))})")
    filled = {sample.domain for sample, _ in found}
    for domain in domains:
        if domain not in filled:
            raise DgpruneError(f"--data {root}: domain {domain!r} has no image; add some")
    labels = {sample.label for sample, _ in found}
    if len(labels) < 2:
        raise DgpruneError(f"--data {root} has images of one class only; it needs two or more")


def _require_portable_names(found: list[tuple[Sample, Path]]) -> None:
    for sample, path in found:
        try:
            sample.key.encode("utf-8")
        except UnicodeEncodeError:
            raise DgpruneError(f"the file name {path!a} is not UTF-8; rename it") from None
