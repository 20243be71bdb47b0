"""Folders and files that are either whole or absent, whatever interrupts the writer."""

import errno
import fcntl
import gzip
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dgprune.errors import DgpruneError
from dgprune.temporary import (
    own_temporary,
    remove,
    remove_left_by_killed_runs,
    temporary_of,
)

MARKER = "dgprune-store.txt"
_MARKED = "Written by dgprune; each folder is named by its digest.\n"
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)


def open_store(folder: Path) -> Path:
    """The folder `--out` names, made and marked as ours.

    What killed runs left half-written in it is removed. Raises DgpruneError where it cannot be
    written, or holds something that dgprune did not put there.
    """
    with explained(folder):
        require_ours(folder)
        made = [path for path in (folder, *folder.parents) if not path.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / MARKER).is_file():
                write_text(folder / MARKER, _MARKED)
        except BaseException:
            _remove_empty(made)
            raise
        remove_left_by_killed_runs(folder)
    return folder


def require_ours(folder: Path) -> None:
    """Raises DgpruneError where `folder` is a file, or holds what dgprune did not put there."""
    if folder.exists() and not folder.is_dir():
        raise DgpruneError(f"--out {folder} is a file; name a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARKER).is_file():
        raise DgpruneError(f"--out {folder} holds something else; name a new or empty folder")


def _remove_empty(folders: Sequence[Path]) -> None:
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def claim(folder: Path) -> None:
    """Makes `folder` and marks it as ours where it is new or empty; another one stays as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.iterdir()):
        write_text(folder / MARKER, _MARKED)
    elif (folder / MARKER).is_file():
        remove_left_by_killed_runs(folder)


@contextmanager
def store_at(folder: Path) -> Iterator[Path]:
    """The store `folder`; one that is new and still empty when the block fails is taken away."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    store = open_store(folder)
    try:
        yield store
    except BaseException:
        if folder in made and {path.name for path in folder.iterdir()} <= {MARKER}:
            (folder / MARKER).unlink(missing_ok=True)
            _remove_empty(made)
        raise


@contextmanager
def explained(path: Path, option: str = "--out") -> Iterator[None]:
    """Turns the operating system's refusals to write into one clear line that names `option`."""
    try:
        yield
    except OSError as error:
        reason = f"{error.strerror or error};"
        if error.errno in _NO_SPACE:
            reason = "no space left; free some or"
        elif error.errno in _DENIED:
            reason = "not writable; change its permissions or"
        raise DgpruneError(f"cannot write {path}: {reason} choose another {option}") from error


@contextmanager
def new_folder(
    final: Path, option: str = "--out", *, survives_power_cut: bool = True
) -> Iterator[Path]:
    """A temporary folder that becomes `final` when the block ends well, and else vanishes.

    Where another process made `final` meanwhile, its folder stays: equal names hold equal work.
    `option` names the place in an error. Without `survives_power_cut` its files may then be empty
    or torn: for what knows its own digests and is made again in seconds.
    """
    with explained(final, option):
        final.parent.mkdir(parents=True, exist_ok=True)
        with own_temporary(final, Path.mkdir) as temporary:
            yield temporary
            for path in temporary.rglob("*"):
                if survives_power_cut and path.is_file():
                    _sync(path)
            _become(final, temporary)


def _become(final: Path, temporary: Path) -> None:
    """Gives `temporary` its name, unless another process made `final`, seen from here or not."""
    if final.exists():
        return
    try:
        temporary.replace(final)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    _sync(final.parent)


def discard(folder: Path) -> None:
    """Takes a folder of a store away; killed on the way, no part of it is left under its name."""
    with explained(folder):
        temporary = temporary_of(folder)
        folder.rename(temporary)
        remove(temporary)


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole, as `write_bytes` does."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, data: bytes, option: str = "--out") -> None:
    """Writes a file whole: readers see the old bytes or the new ones, never a part.

    `option` names the file in an error.
    """
    with explained(path, option), own_temporary(path, Path.touch) as temporary:
        temporary.write_bytes(data)
        _sync(temporary)
        temporary.replace(path)


def append_lines(path: Path, lines: Sequence[str], option: str = "--records") -> None:
    """Appends all lines or none; a line torn by an earlier crash is cut off first.

    A last line that is whole JSON and lacks only its line end gets one. `option` names the file in
    an error.
    """
    data = "".join(f"{line}\n" for line in lines).encode("utf-8")
    with explained(path, option), path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # two benchmarks may append to one file
        there = path.read_bytes()
        end = there.rfind(b"\n") + 1
        if is_json(there[end:]):
            end, data = len(there), b"\n" + data
        file.truncate(end)
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            os.truncate(path, end)
            raise


def lines_text(path: Path) -> str:
    """The text of a file of JSON lines, or of one that gzip made smaller (`.gz`)."""
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DgpruneError(f"{path} cannot be read as records ({error}); name another") from None


def json_lines(text: str) -> list[str]:
    """The lines of a file of JSON lines, without a last one that a crash tore.

    Line feeds only: JSON may hold other line ends, such as U+2028, as they are.
    """
    *lines, last = text.split("\n")
    return [*lines, last] if is_json(last) else lines


def is_json(text: bytes | str) -> bool:
    """Whether `text` is one whole JSON object."""
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
