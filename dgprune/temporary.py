"""Temporaries beside what they become: their living owner keeps them, any process removes others.

`NAME.<8 hex>.tmp` is held by a lock on the file `NAME.<8 hex>.tmp.lock`. On NFS a lock on a folder
is seen by its own machine only, and a file must be open for writing to be locked alone.
"""

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_OURS = re.compile(r"(?P<tmp>(?P<of>.+)\.[0-9a-f]{8}\.tmp)(\.lock)?", re.DOTALL)


def temporary_of(final: Path) -> Path:
    """A new name beside `final`."""
    return final.with_name(f"{final.name}.{secrets.token_hex(4)}.tmp")


@contextmanager
def own_temporary(final: Path, make: Callable[[Path], None]) -> Iterator[Path]:
    """A temporary of `final`, made by `make` under its lock; what is left of it goes at the end."""
    temporary = temporary_of(final)
    with alone(_lock_of(temporary)):
        try:
            make(temporary)
            yield temporary
        finally:
            remove(temporary)


def remove_left_by_killed_runs(folder: Path, of: str | None = None) -> None:
    """Removes temporaries in `folder`, or those `of` one name; those of living processes stay."""
    names = (_OURS.fullmatch(path.name) for path in folder.iterdir())
    for name in sorted({match["tmp"] for match in names if match and of in (None, match["of"])}):
        temporary = folder / name
        lock = _lock_of(temporary)
        with suppress(OSError):  # in use, or gone meanwhile
            if lock.exists():
                with locked(lock, wait=False):
                    remove(temporary)
                    lock.unlink(missing_ok=True)
            else:
                remove(temporary)


def remove(path: Path) -> None:
    """Removes a file, a folder as far as that goes, or nothing."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Holds the lock file `lock`, which is there as long as a process holds it or waits for it."""
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not _is_still(lock, descriptor):
                continue  # whoever held it took it away
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
            return
        finally:
            os.close(descriptor)


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Holds the lock of a file that is there; it falls when the process ends, however it ends."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)


def _lock_of(temporary: Path) -> Path:
    return temporary.with_name(f"{temporary.name}.lock")


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether `path` names the open file."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
