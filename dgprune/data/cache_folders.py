"""The folders of the decoded cache: who may write one, what killed runs left, and what it holds."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dgprune.cache import CACHE
from dgprune.errors import DgpruneError
from dgprune.temporary import locked

_TEMPORARY = r"\.[0-9a-f]{8}\.tmp(\.lock)?"
_OURS = re.compile(rf"([0-9a-f]{{32}})(\.lock|(?P<temporary>{_TEMPORARY}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleared:
    """What was removed, and how many domains are being written right now and were left."""

    freed_bytes: int
    in_use: int


@contextmanager
def owned(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Holds the right to write `folder`; raises OSError where another has it and `wait` is off."""
    lock = folder.with_name(f"{folder.name}.lock")
    lock.touch()
    with locked(lock, wait=wait):
        yield


def remove(path: Path) -> None:
    """Removes a folder, or whatever stands in its place."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_what_killed_runs_left(cache: Path, folder: Path) -> None:
    """Removes half-written folders that nobody writes; the caller owns `folder`."""
    for path in _entries(cache):
        match = _OURS.fullmatch(path.name)
        if match is None or match["temporary"] is None:
            continue
        owner = path.with_name(match[1])
        with suppress(OSError):  # in use, or gone meanwhile
            if owner == folder:
                remove(path)
            else:
                with owned(owner, wait=False):
                    remove(path)


def require_room(cache: Path, needed_bytes: int) -> None:
    """Raises DgpruneError where the disk has not `needed_bytes` left."""
    free_bytes = shutil.disk_usage(cache).free
    if free_bytes < needed_bytes:
        raise DgpruneError(
            f"{cache} needs {needed_bytes / 1e9:.1f} GB and has {free_bytes / 1e9:.1f}; free some, "
            f"or choose another {CACHE}"
        )


def clear(cache: Path) -> Cleared:
    """Removes every decoded domain; a process that has one open keeps what it mapped."""
    freed = in_use = 0
    for folder in sorted({owner for path in _entries(cache) if (owner := _of(path))}):
        try:
            with owned(folder, wait=False):
                for path in _entries(cache):
                    if _of(path) == folder:
                        freed += _size_bytes(path)
                        remove(path)
        except BlockingIOError:
            in_use += 1
    return Cleared(freed_bytes=freed, in_use=in_use)


def _entries(cache: Path) -> list[Path]:
    return list(cache.iterdir()) if cache.is_dir() else []


def _of(path: Path) -> Path | None:
    """The folder that an entry of the cache belongs to; None where it is not ours."""
    match = _OURS.fullmatch(path.name)
    return path.with_name(match[1]) if match else None


def _size_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file())
