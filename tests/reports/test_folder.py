"""The report's folder: subfolders are replaced whole, and no name reaches outside of it."""

import json
import shutil
from pathlib import Path

import pytest

from dgprune.errors import DgpruneError
from dgprune.records import append_records
from dgprune.schema import file_sha256
from reports.folder import MARKER, inside, is_intact
from reports.report import report
from reports.verify import VerifySpec, verify
from tests.conftest import TinyChain
from tests.fakes.accuracy import entries_of
from tests.fakes.hostile import SCRIPT, hostile_entries


def records_of(path: Path, *labels: str) -> Path:
    for label in labels:
        for entry in entries_of(label, "a", 0, {"a": 6, "b": 9}):
            append_records(path, entry.cell, [entry.record])
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    report([records_of(tmp_path / "one.jsonl", "dense")], tmp_path / "out")
    return tmp_path / "out"


def again(out: Path) -> bool:
    """Makes the report of another file in the place of that in `out`; whether it was made."""
    return report([records_of(out.parent / "two.jsonl", "l1")], out).fresh


def forge(out: Path, name: str, sha256: str = "0" * 64) -> None:
    """Puts a name into the manifest."""
    manifest = json.loads((out / MARKER).read_text())
    manifest["files"][name] = sha256
    (out / MARKER).write_text(json.dumps(manifest))


def test_every_file_is_in_the_manifest_and_verified(out: Path) -> None:
    files = json.loads((out / MARKER).read_text())["files"]
    there = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert there == {*files, MARKER}
    assert {"tables/files.csv", "tables/accuracy.csv", "tables/files.tex"} <= set(files)
    assert any(name.startswith("cards/dense-") for name in files)
    assert verify(VerifySpec(path=out)).exit_code == 0


@pytest.mark.parametrize("name", ["tables/accuracy.csv", "tables/files.tex", "cards/*.md"])
def test_one_changed_byte_of_a_file_in_a_subfolder_is_found(out: Path, name: str) -> None:
    (path,) = out.glob(name)
    path.write_bytes(path.read_bytes().replace(b"6", b"7", 1))
    assert (
        "is not the file that was written" in verify(VerifySpec(path=out)).summary["not_verified"]
    )
    forge(out, path.relative_to(out).as_posix(), file_sha256(path))
    said = verify(VerifySpec(path=out)).summary["not_verified"]
    assert "does not say what the records say" in said


def test_a_file_that_the_records_do_not_make_is_found(out: Path) -> None:
    (out / "cards" / "better.md").write_text("100 %")
    forge(out, "cards/better.md", file_sha256(out / "cards" / "better.md"))
    assert "make the report again" in verify(VerifySpec(path=out)).summary["not_verified"]


def test_a_card_of_a_file_that_is_gone_goes_and_files_of_others_stay(out: Path) -> None:
    (out / "cards" / "mine.md").write_text("a note")
    (old,) = out.glob("cards/dense-*.md")
    assert again(out)
    assert not old.exists() and list(out.glob("cards/l1-*.md"))
    assert (out / "cards" / "mine.md").read_text() == "a note"
    assert not (out / ".new").exists()
    assert verify(VerifySpec(path=out)).exit_code == 0


def test_a_subfolder_of_the_old_report_alone_goes_with_its_last_file(out: Path) -> None:
    (out / "old").mkdir()
    (out / "old" / "x.csv").write_text("1")
    forge(out, "old/x.csv")
    assert again(out)
    assert not (out / "old").exists()


def test_a_flat_report_of_before_is_replaced(out: Path) -> None:
    for name in ("tables", "cards"):
        shutil.rmtree(out / name)
    manifest = json.loads((out / MARKER).read_text())
    manifest["files"] = {n: sha for n, sha in manifest["files"].items() if "/" not in n}
    manifest["identity"] = "of another state"
    (out / MARKER).write_text(json.dumps(manifest))
    assert verify(VerifySpec(path=out)).exit_code == 1
    assert report([out.parent / "one.jsonl"], out).fresh
    assert verify(VerifySpec(path=out)).exit_code == 0


@pytest.mark.parametrize(
    "name",
    [
        *("../victim.txt", "cards/../../victim.txt", "cards/./../../victim.txt"),
        *("./report.md", "", "cards/", "cards//x", "cards\\x", "a\0b", ".new/report.md", "é"),
        "x" * 300,
    ],
)
def test_a_name_that_leads_out_is_nowhere_and_deletes_nothing(out: Path, name: str) -> None:
    victim = out.parent / "victim.txt"
    victim.write_text("keep me")
    assert inside(out, name) is None
    forge(out, name)
    assert not is_intact(out, {name: "0" * 64})
    assert "which is outside of it" in verify(VerifySpec(path=out)).summary["not_verified"]
    assert again(out)
    assert victim.read_text() == "keep me"
    assert verify(VerifySpec(path=out)).exit_code == 0


def test_an_absolute_name_deletes_nothing(out: Path) -> None:
    victim = out.parent / "victim.txt"
    victim.write_text("keep me")
    forge(out, str(victim))
    assert again(out)
    assert victim.read_text() == "keep me"


def test_a_folder_that_links_out_is_neither_written_nor_emptied(out: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (out / "cards").rename(elsewhere)
    (out / "cards").symlink_to(elsewhere)
    before = sorted(path.name for path in elsewhere.iterdir())
    with pytest.raises(DgpruneError, match="is a link that leads out"):
        again(out)
    assert sorted(path.name for path in elsewhere.iterdir()) == before


@pytest.mark.parametrize(("made", "read"), [(True, False), (False, True), (False, False)])
def test_a_report_verifies_with_and_without_pyarrow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: bool, read: bool
) -> None:
    if made or read:
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    records = records_of(tmp_path / "r.jsonl", "dense")

    def pretend(there: bool) -> None:
        for place in ("reports.report", "reports.verify"):
            monkeypatch.setattr(f"{place}.is_available", lambda: there)

    pretend(made)
    page = report([records], tmp_path / "out").path
    names = {path.name for path in page.parent.glob("tables/*.parquet")}
    assert names == ({"files.parquet", "accuracy.parquet", "latency.parquet"} if made else set())
    for text in (page.read_text(), page.with_suffix(".md").read_text()):
        assert ("Parquet is left out" in text) is not made
        assert ("tables/files.parquet" in text) is made
    pretend(read)
    done = verify(VerifySpec(path=page.parent))
    assert done.exit_code == 0, done.summary
    assert any("digests only" in line for line in done.summary["verified"]) is (made and not read)
    assert report([records], tmp_path / "out").fresh is (made != read)


def test_parquet_of_another_writer_verifies_and_other_values_do_not(out: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from pyarrow import parquet

    path = out / "tables" / "accuracy.parquet"
    table = parquet.ParquetFile(path, pre_buffer=False).read(use_threads=False)
    for changed, code in ((table, 0), (table.slice(0, 1), 1)):
        parquet.write_table(changed, path, compression="none")
        forge(out, "tables/accuracy.parquet", file_sha256(path))
        assert verify(VerifySpec(path=out)).exit_code == code


def test_hostile_records_make_a_report_that_verifies(tmp_path: Path) -> None:
    for entry in hostile_entries():
        append_records(tmp_path / "r.jsonl", entry.cell, [entry.record])
    page = report([tmp_path / "r.jsonl"], tmp_path / "out").path
    assert SCRIPT not in page.read_text() and SCRIPT not in page.with_suffix(".md").read_text()
    assert len(list(page.parent.glob("cards/*.md"))) == 16
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "r.jsonl"]
    assert verify(VerifySpec(path=page.parent)).exit_code == 0


def test_what_a_killed_report_left_is_removed_by_the_next(chain: TinyChain, tmp_path: Path) -> None:
    report([chain.records], tmp_path / "place" / "one")
    left = tmp_path / "place" / "two.0123abcd.tmp"
    left.mkdir()
    report([chain.records], tmp_path / "place" / "two")
    assert not left.exists()


def test_what_a_killed_report_left_in_a_folder_of_others_is_removed_and_nothing_else(
    tmp_path: Path,
) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "notes.txt").touch()  # so that the folder is no store
    kept = [theirs / name for name in ("out.notes.tmp", "other.0a1b2c3d.tmp")]
    left = theirs / "out.0a1b2c3d.tmp"
    for folder in (*kept, left):
        folder.mkdir()
    records, out = records_of(tmp_path / "one.jsonl", "dense"), theirs / "out"
    report([records], out)
    assert not left.exists() and all(folder.is_dir() for folder in kept)
    inside = out / ".new.0a1b2c3d.tmp"
    inside.mkdir()
    assert again(out)
    assert not inside.exists()
    assert verify(VerifySpec(path=out)).exit_code == 0
