"""The journal of a sweep: a line for every cell that ended, append-only, on the disk at once."""

import fcntl
import json
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from dgprune.errors import DgpruneError
from dgprune.schema import canonical_json, decode
from dgprune.store import explained, is_json
from dgprune.sweep.cells import Kind
from dgprune.sweep.made import Made

SCHEMA, _OLDER = 2, (1,)
JOURNAL, LOCK = "journal.jsonl", "sweep.lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A cell that ended: how, after how long, and on which machine and process."""

    cell: str
    kind: Kind
    model: str
    name: str
    state: Literal["done", "failed"]
    seconds: float
    whole: bool
    where: str
    made: Made | None = None
    error: str = ""
    training: str = ""
    schema: int = SCHEMA


class Journal:
    """Takes one line at a time; only the driver of a sweep writes it."""

    def __init__(self, path: Path) -> None:
        with explained(path):
            whole = _whole_lines(path.read_bytes()) if path.exists() else b""
            self._file = path.open("ab")
            self._file.truncate(len(whole))  # a line that a crash tore goes

    def write(self, ended: Ended) -> None:
        """Appends a line and waits until the disk has it."""
        with explained(Path(self._file.name)):
            self._file.write(canonical_json(ended).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._file.close()


def read_journal(path: Path) -> list[Ended]:
    """All that ended, oldest first; none where there is no journal, a torn last line left out.

    Raises DgpruneError for a line that is not one of a journal, or of another schema.
    """
    if not path.exists():
        return []
    *lines, _ = _whole_lines(path.read_bytes()).decode("utf-8", "replace").split("\n")
    return list(_decoded(lines, path))


def _decoded(lines: Sequence[str], path: Path) -> Iterator[Ended]:
    for number, line in enumerate(lines, 1):
        where = f"{path}:{number}"
        if not is_json(line):
            raise DgpruneError(f"{where} is not a line of a sweep's journal; remove the line")
        value = json.loads(line)
        if value.get("schema") not in (SCHEMA, *_OLDER):
            raise DgpruneError(
                f"{where} has schema {value.get('schema')!r}; this dgprune reads schema {SCHEMA}, "
                "install the version that wrote it"
            )
        yield decode(Ended, value, where=where)


def _whole_lines(data: bytes) -> bytes:
    return data[: data.rfind(b"\n") + 1]


@contextmanager
def only_sweep(store: Path) -> Iterator[None]:
    """Holds the folder's lock; it falls when the process ends, however it ends.

    Raises DgpruneError naming the process that holds it.
    """
    path = store / LOCK
    with explained(path):
        file = path.open("a+", encoding="utf-8")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise DgpruneError(
                f"--out {store}: another sweep runs here ({file.read().strip() or 'starting'}); "
                "wait for it, stop it, or name another folder"
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield
