"""Domains decoded once, each into one memory-mapped file, and never believed without a check.

A folder of the cache is named by a digest of what its pixels follow from: the domain's files and
their times of change, the image size, the interpolation and the decoder. It appears whole or not
at all, holds the digest of its pixels, and is made again where anything in it was changed.
"""

import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import PIL

from dgprune.cache import CACHE, image_cache
from dgprune.data.cache_folders import (
    owned,
    remove,
    remove_what_killed_runs_left,
    require_room,
)
from dgprune.data.dataset import DataSet
from dgprune.data.decoding import Unreadable, decoded
from dgprune.data.preprocessing import Bytes, Preprocessing
from dgprune.errors import DgpruneError
from dgprune.progress import Progress
from dgprune.schema import canonical_json, decode, digest, file_sha256, read_json, seal, unseal
from dgprune.store import claim, explained, new_folder

_SCHEMA = 1
_DECODING = 2  # raised where a file gives other pixels
_PIXELS, _SIDECAR = "pixels.npy", "pixels.json"
# Below this share of a domain, decoding what is asked for is cheaper than decoding all.
_WORTH_IT = 1 / 5


@dataclass(frozen=True, kw_only=True)
class CachedDomain:
    """All images of a domain in order: pixels [n, px, px, 3], and by row what is unreadable."""

    pixels: Bytes
    unreadable: Mapping[int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sidecar:
    """What stands beside the pixels; `unreadable` is by row."""

    schema: int
    key: str
    data: str
    domain: str
    pixels_sha256: str
    unreadable: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """One domain at one size, and the folder of the cache that it belongs in."""

    data: DataSet
    domain: str
    preprocessing: Preprocessing
    cache: Path
    key: str

    @property
    def folder(self) -> Path:
        return self.cache / self.key[:32]


def cached_domain(
    data: DataSet, domain: str, preprocessing: Preprocessing, *, images: int, progress: Progress
) -> CachedDomain | None:
    """The decoded domain, made now where `images` of it are worth that.

    None where its images are better decoded one by one: there is no cache yet and few are asked
    for, the cache is off, or it cannot be written (which is said, once).
    """
    cache = image_cache()
    if cache is None or domain not in data.stamps:
        return None
    key = _key(data.stamps[domain], preprocessing)
    wanted = _Wanted(data=data, domain=domain, preprocessing=preprocessing, cache=cache, key=key)
    found = _open(wanted)
    if isinstance(found, CachedDomain):
        return found
    if data.use.failed or not (found or _is_worth_it(data, domain, images)):
        return None
    try:
        return _made(wanted, progress)
    except DgpruneError as error:
        data.use.failed = True
        progress.line(f"decoding without a cache: {error}")
        return None


def _key(stamp: str, preprocessing: Preprocessing) -> str:
    return digest(
        {
            "schema": _SCHEMA,
            "files": stamp,
            "image_size": preprocessing.image_size,
            "interpolation": preprocessing.interpolation,
            "pillow": PIL.__version__,
            "decoding": _DECODING,
        }
    )


def _is_worth_it(data: DataSet, domain: str, images: int) -> bool:
    """Whether to decode all; many small requests add up to one that is not small."""
    data.use.decoded[domain] += images
    return data.use.decoded[domain] >= _WORTH_IT * len(data.of_domain(domain))


def _open(wanted: _Wanted) -> CachedDomain | str:
    """The domain as it was written, or what is wrong with it: nothing ("") where there is none."""
    try:
        if not wanted.folder.exists():
            return ""
        where = str(wanted.folder / _SIDECAR)
        body = unseal(read_json(wanted.folder / _SIDECAR), _SCHEMA, where=where)
        sidecar = decode(_Sidecar, body, where=where)
        if sidecar.key != wanted.key:
            return f"it is of {sidecar.data}, {sidecar.domain}, in another state or size"
        file = wanted.folder / _PIXELS
        stat = file.stat()
        if _sha256(file, stat.st_ino, stat.st_size, stat.st_mtime_ns) != sidecar.pixels_sha256:
            return "its pixels are not those that were written"
        pixels = np.lib.format.open_memmap(file, mode="r")
    except (DgpruneError, OSError, ValueError) as error:
        return str(error) or type(error).__name__
    unreadable = {int(row): reason for row, reason in sidecar.unreadable.items()}
    return CachedDomain(pixels=pixels.view(np.ndarray), unreadable=unreadable)


@cache
def _sha256(file: Path, inode: int, size_bytes: int, changed_ns: int) -> str:
    """Digest of a file, computed once per process as long as the file is the same one."""
    return file_sha256(file)


def _made(wanted: _Wanted, progress: Progress) -> CachedDomain:
    """The domain, decoded here or by a process that was first; raises DgpruneError if it fails."""
    with explained(wanted.cache, CACHE):
        claim(wanted.cache.parent)
        wanted.cache.mkdir(exist_ok=True)
        with owned(wanted.folder):
            found = _open(wanted)
            if isinstance(found, CachedDomain):
                return found
            if found:
                progress.line(f"decoding {wanted.domain} again: its cache is damaged ({found})")
                remove(wanted.folder)
            remove_what_killed_runs_left(wanted.cache, wanted.folder)
            _write(wanted, progress)
            found = _open(wanted)
    if isinstance(found, str):
        raise DgpruneError(f"{wanted.folder} is not what was written ({found}); check the disk")
    return found


def _write(wanted: _Wanted, progress: Progress) -> None:
    samples = wanted.data.of_domain(wanted.domain)
    side = wanted.preprocessing.image_size
    shape = (len(samples), side, side, 3)
    require_room(wanted.cache, int(np.prod(shape)))
    unreadable: dict[str, str] = {}
    sha256 = hashlib.sha256()

    def rows() -> Iterator[bytes | memoryview]:
        yield _header(shape)
        found = decoded(wanted.data, samples, wanted.preprocessing, progress)
        for row, pixels in enumerate(found):
            if isinstance(pixels, Unreadable):
                if pixels.denied:  # it may be readable next time, without its time of change moving
                    raise DgpruneError(f"{samples[row].key} cannot be read ({pixels.reason})")
                unreadable[str(row)] = pixels.reason
                yield bytes(side * side * 3)
            else:
                yield pixels.data

    with new_folder(wanted.folder, CACHE) as folder:
        # Written, not mapped: a disk that fills up is then an error and no crash.
        with (folder / _PIXELS).open("wb") as file:
            for part in rows():
                sha256.update(part)
                file.write(part)
        sidecar = {
            "schema": _SCHEMA,
            "key": wanted.key,
            "data": wanted.data.name,
            "domain": wanted.domain,
            "pixels_sha256": sha256.hexdigest(),
            "unreadable": unreadable,
        }
        (folder / _SIDECAR).write_text(canonical_json(seal(sidecar)) + "\n", encoding="utf-8")


def _header(shape: tuple[int, ...]) -> bytes:
    """What a NumPy file of bytes of this shape begins with."""
    buffer = io.BytesIO()
    form = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, form)
    return buffer.getvalue()
