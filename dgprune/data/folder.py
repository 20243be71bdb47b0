"""A folder of the shape `domain/class/image`: PACS, Office-Home and DomainBed's others."""

from pathlib import Path

from PIL import Image, UnidentifiedImageError

from dgprune.data.dataset import DataSet, Sample, digest_of_samples
from dgprune.errors import DgpruneError

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})


def image_folder(root: Path) -> DataSet:
    """The data set under `root`; raises DgpruneError where it is not `domain/class/image`."""
    if not root.is_dir():
        raise DgpruneError(
            f"--data {root}: no such folder; give a folder domain/class/image, or rotated-digits"
        )
    domains = _folders(root)
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
        for path in _images(root / domain / name)
    ]
    _require_every_domain(root, domains, found)
    samples = tuple(sample for sample, _ in found)
    sizes = [path.stat().st_size for _, path in found]

    def read(sample: Sample) -> Image.Image:
        try:
            with Image.open(root / sample.key) as image:
                return image.convert("RGB")
        except (
            UnidentifiedImageError,
            SyntaxError,
            ValueError,
            Image.DecompressionBombError,
        ) as error:
            raise OSError(str(error)) from error

    return DataSet(
        name=root.resolve().name,
        classes=classes,
        domains=domains,
        samples=samples,
        file_digest=digest_of_samples(samples, sizes),
        read=read,
    )


def _folders(folder: Path) -> tuple[str, ...]:
    return tuple(
        sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    )


def _images(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())


def _common_classes(root: Path, domains: tuple[str, ...]) -> tuple[str, ...]:
    first = _folders(root / domains[0])
    for domain in domains[1:]:
        classes = _folders(root / domain)
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
            raise DgpruneError(f"--data {root}: domain {domain!r} has no image")
