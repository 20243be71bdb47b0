"""What a cell left behind is there only where every file is as it was left."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from dgprune.errors import DgpruneError
from dgprune.stage import Done
from dgprune.store import open_store
from dgprune.sweep.journal import JOURNAL, read_journal
from dgprune.sweep.made import Made, damage, files_of
from dgprune.sweep.sweep import SweepSpec, plan_only, sweep
from tests.dgprune.sweep.test_sweep import Heard, lines_of, of, run, spec
from tests.dgprune.sweep.trivial import calls, invoke

__all__ = ["spec"]

FIXTURE = Path(__file__).parent / "fixtures" / "journal-schema-1.jsonl"


def truncated(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 1)


def changed(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "truncated": (truncated, "bytes, not"),
    "changed": (changed, "was changed"),
    "deleted": (Path.unlink, "is gone"),
}


@pytest.mark.parametrize("part", ["checkpoint", "artefact"])
@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_cell_is_made_again(spec: SweepSpec, part: str, how: str) -> None:
    run(of(spec, ["l1"]))
    before, records = calls(spec.out), (spec.out / "records.jsonl").read_bytes()
    made = lines_of(spec)[-1].made
    assert made is not None
    damaged: str = getattr(made, part)
    file = spec.out / damaged / "file"
    content = file.read_bytes()
    damages, says = DAMAGES[how]
    damages(file)
    assert plan_only(spec).summary["done"] == 5
    heard = Heard()
    assert run(spec, heard).exit_code == 0
    (line,) = (line for line in heard.lines if "made again" in line)
    assert f"{damaged}/file" in line and says in line
    assert file.read_bytes() == content
    assert (spec.out / "records.jsonl").read_bytes() == records
    again = calls(spec.out) - before
    assert set(again) == {damaged, f"evaluate {made.artefact}"}
    assert not list(spec.out.glob("*.tmp"))
    assert plan_only(spec).summary["done"] == 6


def test_a_file_that_was_only_touched_or_copied_is_the_same(spec: SweepSpec) -> None:
    run(of(spec, ["l1"]))
    before = calls(spec.out)
    for file in spec.out.rglob("*"):
        os.utime(file, (1, 1))
    heard = Heard()
    run(spec, heard)
    assert "nothing to do: all 6 cells were already done" in heard.lines
    assert calls(spec.out) == before


def test_files_in_folders_count_and_those_not_written_since_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("c/deep/x", "c/y", "a/z"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    files = files_of(tmp_path, "c", "a")
    assert sorted(files) == ["a/z", "c/deep/x", "c/y"]
    made = Made(checkpoint="c", artefact="a", records_sha256="", files=files)
    monkeypatch.setattr("dgprune.sweep.made.file_sha256", lambda path: 1 / 0)
    assert damage(made, tmp_path) == {}
    (tmp_path / "c/deep/x").unlink()
    assert damage(made, tmp_path) == {"c": "c/deep/x is gone"}


def test_the_old_journal_is_read_and_its_cells_stay_done(spec: SweepSpec) -> None:
    old = read_journal(FIXTURE)
    assert [(line.schema, line.state) for line in old] == [(1, "done"), (1, "done"), (1, "failed")]
    assert all(line.made is None or line.made.files is None for line in old)
    run(of(spec, ["l1"]))
    before, journal = calls(spec.out), spec.out / JOURNAL
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    for line in lines:
        line["schema"] = 1
        del line["made"]["files"]
    journal.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    run(spec)
    assert calls(spec.out) == before
    folder = spec.out / lines[-1]["made"]["artefact"]
    folder.rename(folder.with_name("elsewhere"))
    run(spec)
    assert calls(spec.out) != before  # a folder that is gone was noticed before, too


@pytest.mark.parametrize("name", ["..", "../else", "/else", "a/b", ""])
def test_a_journal_cannot_have_a_folder_outside_of_the_store_taken_away(
    spec: SweepSpec, name: str
) -> None:
    run(of(spec, ["l1"]))
    journal = spec.out / JOURNAL
    made = lines_of(spec)[0].made
    assert made is not None
    journal.write_text(journal.read_text().replace(json.dumps(made.artefact), json.dumps(name), 1))
    with pytest.raises(DgpruneError, match=r":1: .*folder in the store"):
        run(spec)


def tidies_up(arguments: Sequence[str]) -> Done:
    """While a model is evaluated, another worker opens the same folder, as each does."""
    done = invoke(arguments)
    if arguments[0] == "evaluate":
        store = Path(arguments[1]).parent
        for folder in (store, store / "cells"):
            open_store(folder)
    return done


def test_workers_do_not_take_each_others_records_away(spec: SweepSpec) -> None:
    done = sweep(replace(spec, retries=0), tidies_up)
    assert done.summary["failed"] == []
    assert done.summary["done"] == done.summary["cells"]
    assert not list((spec.out / "cells").glob("*.tmp"))
