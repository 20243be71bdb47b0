"""One predicted class an image, as text: what agreement between two files is counted from."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from dgprune.data.dataset import Sample
from dgprune.reliability import Reliability
from dgprune.schema import digest


def pack(predictions: Sequence[int], classes: int) -> str:
    """Two hexadecimal digits an image, four where there are over 256 classes."""
    digits = _digits(classes)
    return "".join(f"{predicted:0{digits}x}" for predicted in predictions)


def unpack(text: str, classes: int) -> tuple[int, ...]:
    """What `pack` was given; raises ValueError where `text` is not of it."""
    digits = _digits(classes)
    if len(text) % digits or not text.isalnum():  # fromhex would pass over blanks
        raise ValueError(f"predictions_hex needs {digits} digits an image")
    values = np.frombuffer(bytes.fromhex(text), dtype=np.uint8 if digits == 2 else ">u2")
    found: tuple[int, ...] = tuple(values.tolist())
    if max(found, default=0) >= classes:
        raise ValueError(f"predictions_hex names a class past the {classes} there are")
    return found


def _digits(classes: int) -> int:
    return 2 if classes <= 256 else 4


def images_sha256(samples: Sequence[Sample]) -> str:
    """Digest of which images were seen, in order, and of what class each is said to be."""
    return digest([[sample.domain, sample.key, sample.label] for sample in samples])


def require_one_count(
    confusion: Sequence[Sequence[int]],
    correct_hex: str,
    predictions: Sequence[int] | None,
    seen: Sequence[Reliability | None],
) -> None:
    """Raises ValueError where the parts of an accuracy record do not count the same images."""
    images, right = sum(map(sum, confusion)), sum(row[i] for i, row in enumerate(confusion))
    if int(correct_hex or "0", 16).bit_count() != right or images < 1:
        raise ValueError("confusion and correct_hex do not count the same images")
    if predictions is not None:
        bits = f"{int(correct_hex or '0', 16):0{len(predictions)}b}"
        hits = [p for p, bit in zip(predictions, bits, strict=False) if bit == "1"]
        columns = [sum(column) for column in zip(*confusion, strict=True)]
        diagonal = [row[i] for i, row in enumerate(confusion)]
        if [_count(predictions, columns), _count(hits, diagonal)] != [columns, diagonal]:
            raise ValueError("confusion and predictions_hex do not count the same images")
    for part in seen:
        if part is not None and (part.images, sum(part.correct)) != (images, right):
            raise ValueError("confusion and reliability do not count the same images")


def _count(predictions: Sequence[int], like: Sequence[int]) -> list[int]:
    """How often each class of `like` is predicted."""
    counts = Counter(predictions)
    return [counts[label] for label in range(len(like))]
