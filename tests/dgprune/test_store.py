"""Folders and files are whole or absent."""

import errno
from pathlib import Path

import pytest

from dgprune import store as store_module
from dgprune.checkpoint import open_checkpoint
from dgprune.errors import DgpruneError
from dgprune.progress import SILENT
from dgprune.stage import run_stage
from dgprune.store import (
    append_lines,
    claim,
    discard,
    new_folder,
    open_store,
    store_at,
    write_text,
)


def test_a_folder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "made") as folder:
        (folder / "half").write_text("x")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_stale_temporary_folder_of_a_killed_run_is_removed(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    for name in ("made.01234567.tmp", "older.89abcdef.tmp"):
        (store / name).mkdir()
        (store / name / "stale").write_text("x")
    for name in ("made.01234567.tmp.lock", "gone.01234567.tmp.lock"):
        (store / name).touch()
    with new_folder(store / "living"):
        open_store(store)
        left = {path.name.split(".")[0] for path in store.iterdir()}
        assert left == {"dgprune-store", "living"}
    assert {path.name for path in store.iterdir()} == {"dgprune-store.txt", "living"}


def test_a_discarded_folder_is_gone_at_once_whatever_kills_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path / "store")
    for name in ("one", "two"):
        (store / name / "deep").mkdir(parents=True)
        (store / name / "deep" / "file").write_text("x")
    discard(store / "one")
    assert [path.name for path in store.iterdir() if path.is_dir()] == ["two"]
    with monkeypatch.context() as killed:
        killed.setattr(store_module, "remove", lambda path: None)
        discard(store / "two")
    assert not (store / "two").exists()
    open_store(store)
    assert not any(path.is_dir() for path in store.iterdir())
    with pytest.raises(DgpruneError, match="cannot write"):
        discard(store / "two")


def test_a_store_made_for_work_that_fails_is_taken_away(tmp_path: Path) -> None:
    with pytest.raises(DgpruneError), store_at(tmp_path / "a" / "b"):
        raise DgpruneError("bad input")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DgpruneError), store_at(tmp_path / "kept") as store:
        (store / "done").mkdir()
        raise DgpruneError("a later step")
    assert (tmp_path / "kept" / "done").is_dir()


def test_a_whole_line_without_its_end_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    file.write_text('{"one":1}')
    append_lines(file, ["two"])
    assert file.read_text() == '{"one":1}\ntwo\n'


def test_a_new_folder_is_claimed_and_a_strangers_is_not(tmp_path: Path) -> None:
    claim(tmp_path / "new")
    assert open_store(tmp_path / "new")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.docx").write_text("mine")
    claim(tmp_path / "theirs")
    assert [path.name for path in (tmp_path / "theirs").iterdir()] == ["thesis.docx"]


def test_two_processes_may_make_the_same_folder(tmp_path: Path) -> None:
    with new_folder(tmp_path / "made") as folder:
        (folder / "mine").write_text("x")
        (tmp_path / "made").mkdir()
        (tmp_path / "made" / "theirs").write_text("y")
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["theirs"]
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_a_full_disk_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(DgpruneError, match="no space left"), new_folder(tmp_path / "made"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_stage_runs_once(tmp_path: Path) -> None:
    calls: list[Path] = []

    def build(folder: Path) -> None:
        calls.append(folder)
        (folder / "marker").write_text("done")

    def check(folder: Path) -> str:
        if not (folder / "marker").is_file():
            raise DgpruneError(f"{folder} holds something else")
        return "whole"

    first = run_stage(tmp_path / "stage", check, build, SILENT)
    second = run_stage(tmp_path / "stage", check, build, SILENT)
    assert (first.fresh, second.fresh, len(calls)) == (True, False, 1)


def test_a_strangers_folder_is_not_taken_for_a_stage(tmp_path: Path) -> None:
    (tmp_path / "stage").mkdir()
    with pytest.raises(DgpruneError, match="not a checkpoint.*remove .*stage to have it made"):
        run_stage(tmp_path / "stage", open_checkpoint, lambda folder: None, SILENT)


def test_lines_are_appended_whole_and_a_torn_one_is_cut(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    append_lines(file, ["one"])
    with file.open("a") as torn:
        torn.write("tw")
    append_lines(file, ["two", "three"])
    assert file.read_text() == "one\ntwo\nthree\n"


def test_a_store_is_made_marked_and_recognised(tmp_path: Path) -> None:
    store = open_store(tmp_path / "a" / "b")
    assert open_store(store) == store
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.docx").write_text("mine")
    with pytest.raises(DgpruneError, match="holds something else"):
        open_store(tmp_path / "other")


def test_writing_replaces_and_leaves_no_temporary(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "1")
    write_text(tmp_path / "a", "2")
    assert (tmp_path / "a").read_text() == "2"
    assert len(list(tmp_path.iterdir())) == 1
