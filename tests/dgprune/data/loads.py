"""What the tests of loading share: a listener that counts, and one way to load a folder."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from dgprune.data import (
    DataSet,
    Images,
    Preprocessing,
    Purpose,
    Sample,
    leave_one_out,
    load_images,
    open_data,
)
from dgprune.data.images import Loading
from dgprune.data.preprocessing import Bytes, resize

Item = TypeVar("Item")
CACHED = ("pixels.json", "pixels.npy")


@dataclass
class Listener:
    """Remembers the lines that were said and how many images were decoded."""

    lines: list[str] = field(default_factory=list)
    decoded: int = 0

    def line(self, text: str) -> None:
        self.lines.append(text)

    def track(self, items: Iterable[Item], total: int, label: str) -> Iterator[Item]:
        for item in items:
            self.decoded += 1
            yield item


def preprocessing(side: int = 16, interpolation: str = "bicubic") -> Preprocessing:
    half = (0.5, 0.5, 0.5)
    return Preprocessing(image_size=side, mean=half, std=half, interpolation=interpolation)


def load(
    data: DataSet | Path,
    samples: Iterable[Sample] | None = None,
    listener: Listener | None = None,
    *,
    side: int = 16,
    interpolation: str = "bicubic",
    skip: bool = False,
) -> Images:
    """All images of a folder that is opened afresh, or `samples` of an opened one."""
    data = open_data(str(data)) if isinstance(data, Path) else data
    split = leave_one_out(data, data.domains[-1])
    loading = Loading(split=split, skip_bad_images=skip, progress=listener or Listener())
    return load_images(
        data,
        tuple(samples if samples is not None else data.samples),
        preprocessing(side, interpolation),
        purpose=Purpose.REPORT,
        loading=loading,
    )


def directly(folder: Path, side: int = 16, interpolation: str = "bicubic") -> Bytes:
    """Pixels of all images, decoded one after the other by the two lines that define them."""
    data = open_data(str(folder))
    return np.stack([resize(data.read(s), side, interpolation) for s in data.samples])


def domains_in(cache: Path) -> dict[str, Path]:
    """By domain: the folder that holds it decoded; asserts that nothing half-written is beside."""
    folders = [path for path in (cache / "images").glob("*") if path.is_dir()]
    assert all(tuple(sorted(p.name for p in folder.iterdir())) == CACHED for folder in folders)
    return {json.loads((f / "pixels.json").read_text())["domain"]: f for f in folders}
