"""Temporaries of living processes stay, those of killed ones go, on NFS as on a local disk."""

import errno
import fcntl
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dgprune.errors import DgpruneError
from dgprune.store import claim, new_folder, open_store, write_text
from dgprune.temporary import alone, locked, own_temporary


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_only_ends_like_a_temporary_is_not_ours(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    theirs = {"backup.tmp", "out.notes.tmp", "a.0123456.tmp", "a.01234567.TMP", ".01234567.tmp"}
    for name in theirs:
        (store / name).mkdir()
        (store / name / "thesis.tex").write_text("mine")
    open_store(store)
    claim(store)
    assert names(store) == theirs | {"dgprune-store.txt"}


def test_a_lock_taken_away_before_it_was_held_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process opens the store between the two."""
    store, swept, flock = open_store(tmp_path / "store"), 0, fcntl.flock

    def sweeps_before_it_locks(descriptor: int, operation: int) -> None:
        nonlocal swept
        if operation == fcntl.LOCK_EX and swept % 2 == 0:
            swept += 1
            open_store(store)
            assert names(store) <= {"dgprune-store.txt", "made"}
            swept += 1
        flock(descriptor, operation)
        if swept < 6:
            monkeypatch.setattr(fcntl, "flock", sweeps_before_it_locks)
        else:
            monkeypatch.setattr(fcntl, "flock", flock)

    monkeypatch.setattr(fcntl, "flock", sweeps_before_it_locks)
    with new_folder(store / "made") as folder:
        (folder / "file").write_text("x")
    write_text(store / "text", "y")
    assert swept == 6
    assert (store / "made" / "file").read_text() == "x"
    assert names(store) == {"dgprune-store.txt", "made", "text"}


def test_who_waits_for_a_lock_holds_the_one_that_the_next_waits_for(tmp_path: Path) -> None:
    """The file that the first took away is no lock any more."""
    lock = tmp_path / "scores.lock"
    code = (
        "import sys; from pathlib import Path; from dgprune.temporary import alone\n"
        "lock = Path(sys.argv[1])\n"
        "with alone(lock):\n"
        "    (lock.parent / 'seen').write_text(str(lock.exists()))\n"
    )
    with alone(lock):
        waiting = subprocess.Popen([sys.executable, "-c", code, str(lock)])
        while str(waiting.pid) not in _waiting_for(lock):
            assert waiting.poll() is None
    assert waiting.wait(60) == 0
    assert (tmp_path / "seen").read_text() == "True" and names(tmp_path) == {"seen"}


def _waiting_for(lock: Path) -> set[str]:
    """Processes that wait for a lock on the file, by the kernel's table."""
    inode = f":{lock.stat().st_ino}"
    rows = (line.split() for line in Path("/proc/locks").read_text().splitlines())
    return {row[5] for row in rows if row[1] == "->" and row[6].endswith(inode)}


def test_a_file_that_is_in_the_way_of_a_lock_is_an_error_not_a_wait(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), own_temporary(tmp_path / "no" / "file", Path.touch):
        pass
    with pytest.raises(DgpruneError, match="cannot write"):
        write_text(tmp_path / "no" / "file", "x")


@pytest.fixture
def nfs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks as NFS has them: none on a folder that another machine sees, and files for writing."""
    real = fcntl.flock

    def flock(descriptor: int, operation: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            return
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        if operation & fcntl.LOCK_EX and flags & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.usefixtures("nfs")
def test_a_store_on_nfs_keeps_what_another_machine_is_writing(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    with new_folder(store / "made") as folder:
        (folder / "file").write_text("x")
        open_store(store)
        assert (folder / "file").is_file()
    with locked(store / "dgprune-store.txt"):
        assert names(store) == {"dgprune-store.txt", "made"}


def test_a_folder_that_another_machine_made_unseen_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory may be listed before it is there for this machine."""
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "theirs").write_text("x")
    whole: Any = Path.exists

    def unseen(path: Path, **options: Any) -> bool:
        return path.name != "made" and bool(whole(path, **options))

    monkeypatch.setattr(Path, "exists", unseen)
    with new_folder(tmp_path / "made") as folder:
        (folder / "mine").write_text("y")
    assert names(tmp_path / "made") == {"theirs"} and names(tmp_path) == {"made"}
