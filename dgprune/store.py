"""Folders and files that are either whole or absent, whatever interrupts the writer."""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dgprune.errors import DgpruneError

MARKER = "dgprune-store.txt"
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def open_store(folder: Path) -> Path:
    """The folder `--out` names, made and marked as ours.

    Raises DgpruneError where it cannot be written, or holds something that dgprune did not put
    there.
    """
    if folder.exists() and not folder.is_dir():
        raise DgpruneError(f"--out {folder} is a file; name a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARKER).is_file():
        raise DgpruneError(f"--out {folder} holds something else; name a new or empty folder")
    with explained(folder):
        made = [path for path in (folder, *folder.parents) if not path.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / MARKER).is_file():
                write_text(
                    folder / MARKER, "Written by dgprune; each folder is named by its digest.\n"
                )
        except OSError:
            _remove_empty(made)
            raise
    return folder


def _remove_empty(folders: Sequence[Path]) -> None:
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns the operating system's refusals to write into one clear line."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            reason = "no space left; free some or choose another --out"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            reason = "not writable; choose another --out"
        else:
            raise
        raise DgpruneError(f"cannot write {path}: {reason}") from error


@contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """A temporary folder that becomes `final` when the block ends well, and else vanishes."""
    temporary = final.with_name(f"{final.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    with explained(final):
        try:
            temporary.mkdir(parents=True)
            yield temporary
            for path in temporary.rglob("*"):
                if path.is_file():
                    _sync(path)
            temporary.replace(final)
            _sync(final.parent)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def write_text(path: Path, text: str) -> None:
    """Writes a file whole: readers see the old bytes or the new ones, never a part."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, data: bytes) -> None:
    """Like `write_text`, for bytes."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with explained(path):
        try:
            temporary.write_bytes(data)
            _sync(temporary)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def append_lines(path: Path, lines: Sequence[str]) -> None:
    """Appends all lines or none; a line torn by an earlier crash is cut off first."""
    data = "".join(f"{line}\n" for line in lines).encode("utf-8")
    with explained(path), path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # two benchmarks may append to one file
        end = _end_of_whole_lines(path)
        file.truncate(end)
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            os.truncate(path, end)
            raise


def _end_of_whole_lines(path: Path) -> int:
    return path.read_bytes().rfind(b"\n") + 1


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
