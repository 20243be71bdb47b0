"""A report counts and names what was asked for and is not there."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dgprune.missing import Missing, missing_line
from dgprune.records import Entry, append_records
from dgprune.store import append_lines
from reports.beside import files_beside
from reports.material import Material
from reports.missing import MISSING, missing_notes, read_files
from reports.over_targets import Grid, grids
from reports.over_targets_section import OVER_TARGETS, over_targets_sections
from reports.report import report
from reports.rows import tables
from reports.terminal import show
from reports.verify import VerifySpec, verify
from tests.fakes.missing import missing
from tests.reports.test_over_targets import DENSE, L1, files

EVIL = "<script>|`*"
LOST = [missing("l2-global-50", target, seed) for target in "abc" for seed in (0, 1)]


def written(path: Path, entries: Sequence[Entry], absent: Sequence[Missing]) -> Path:
    for entry in entries:
        append_records(path, entry.cell, [entry.record])
    append_lines(path, [missing_line(one) for one in absent])
    return path


def grid_of(entries: list[Entry], absent: Sequence[Missing]) -> Grid:
    (grid,) = grids(tables(entries), absent)
    return grid


def test_a_recipe_of_which_nothing_is_there_is_a_row_of_dashes() -> None:
    entries = files("dense", DENSE)
    grid = grid_of(entries, LOST)
    lost = grid.lines[-1]
    assert (lost.name.split(": ")[1], lost.missing, lost.asked) == ("l2-global-50", 6, 6)
    assert (lost.over_targets.mean, lost.worst_target, lost.over_dense) == (None, None, None)
    assert grid.missing == 6
    (found,) = over_targets_sections(tables(entries), LOST)
    assert found.text.startswith("Missing: 6 of 12 files")
    dense, row = found.rows
    assert row[1:] == (*["missing 2 of 2"] * 3, "missing 6 of 6", "–", "–", "–")
    assert dense[4] == "65.0 ± 7.1 %"  # nothing of it is missing


def test_the_table_for_a_paper_counts_what_is_missing_as_the_page_does() -> None:
    material = Material(entries=tuple(files("dense", DENSE)), missing=tuple(LOST))
    text = files_beside(material, parquet=False)["tables/over-targets.tex"].decode()
    assert "Missing: 6 of 12 files" in text
    assert "missing 6 of 6" in text


def test_a_target_and_a_seed_that_are_missing_everywhere_count_as_asked() -> None:
    there = {key: hits for key, hits in DENSE.items() if key == ("a", 0) or key == ("b", 0)}
    entries = files("dense", there)
    like = entries[0].record.subject
    assert grid_of(entries, []).missing == 0  # nothing shows that more was asked
    absent = [missing("dense", t, s, like) for t in "abc" for s in (0, 1) if (t, s) not in there]
    grid = grid_of(entries, absent)
    (line,) = grid.lines
    assert (grid.targets, grid.seeds, grid.domains) == (("a", "b", "c"), 2, 3)
    assert (line.asked, line.missing, line.over_targets.mean) == (6, 4, None)
    assert line.over_seeds("c").missing == 2


def test_one_file_of_several_that_were_asked_has_the_table_too() -> None:
    entries = files("dense", {("a", 0): 6})
    assert grids(tables(entries)) == []
    assert grids(tables(entries), [missing("l2", "a", 0)]) == []  # one target, one seed
    assert grid_of(entries, [missing("dense", "b", 0, entries[0].record.subject)]).missing == 1


def test_a_lost_file_counts_where_it_is_all_that_was_asked_of_its_recipe() -> None:
    entries = files("dense", {("a", 0): 6, ("b", 0): 6})
    assert grid_of(entries, []).missing == 0
    grid = grid_of(entries, [missing("l2", "a", 0)])
    assert (grid.missing, grid.alone) == (2, 0)


@pytest.mark.parametrize(
    "other",
    [
        {"data_name": "other"},
        {"data_digest": "0" * 64},
        {"format": "tensorrt"},
        {"precision": "int8"},
        {"oracle": True},
    ],
)
def test_what_would_stand_elsewhere_is_no_row_here(other: dict[str, Any]) -> None:
    absent = [missing("l2", target, 0, **other) for target in "abc"]
    assert grid_of(files("dense", DENSE), absent).missing == 0


def test_two_recipes_of_one_name_are_told_apart() -> None:
    other = [missing("l2-global-50", "a", 0, recipe="0123456789abcdef", cell="another")]
    names = [line.name for line in grid_of(files("dense", DENSE), [*LOST, *other]).lines]
    assert len(set(names)) == 3
    assert any(name.endswith("l2-global-50 (recipe 01234567)") for name in names)


def test_the_order_is_that_of_budgets() -> None:
    absent = [missing("x", "a", 0, ratio=0.25), missing("y", "a", 0, ratio=0.75, recipe="y")]
    grid = grid_of([*files("dense", DENSE), *files("l1", L1)], absent)
    assert [line.name.split(": ")[1] for line in grid.lines] == ["dense", "x", "l1", "y"]


def test_notes_group_by_reason_and_stay_short() -> None:
    assert missing_notes([]) == []
    assert missing_notes(LOST[:1])[0] == "1 cell that was asked for is missing."
    first, many = missing_notes(LOST)
    assert first == "6 cells that were asked for are missing."
    assert many.startswith("6: it fails; leave it out (") and many.endswith("; and 3 more)")
    assert many.count("a held out, seed 0") == 1
    different = [missing("l2", "a", seed, reason=f"reason {seed}") for seed in range(30)]
    notes = missing_notes([*LOST, *different])
    assert len(notes) == 12
    assert notes[1].startswith("6: ")
    assert notes[-1] == "21 for other reasons; all are named in records.jsonl."


def test_pages_terminal_json_and_verify_know_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = missing(EVIL, EVIL, 0, model=EVIL, reason=EVIL)
    file = written(tmp_path / "r.jsonl", files("dense", DENSE), [*LOST, evil])
    done = report([file], tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert EVIL not in page and page.count("&lt;script&gt;") >= 4
    first = page.index("7 cells that were asked for are missing.")
    assert (
        page.index(">Summary</h2>") < first < page.index("<h2>", page.index(">Summary</h2>") + 12)
    )
    text = (tmp_path / "out" / "report.md").read_text()
    assert "<script>" not in text and "&lt;script&gt;\\|\\`\\*" in text
    assert text.index("> **Missing.** 7 cells that were asked for are missing.") < text.index("## ")
    assert json.loads(json.dumps(done.summary))[MISSING]["cells"] == 7
    assert len(done.summary[OVER_TARGETS][0]["rows"]) == 3
    show(done.summary)
    assert "7 cells that were asked for are missing." in capsys.readouterr().err
    assert report([file], tmp_path / "out").fresh is False
    assert verify(VerifySpec(path=tmp_path / "out")).exit_code == 0
    kept = tmp_path / "out" / "report.md"
    kept.write_text(text.replace("7 cells", "1 cells"))
    assert verify(VerifySpec(path=tmp_path / "out")).exit_code == 1


def test_a_file_with_nothing_but_missing_cells_has_a_page_that_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path / "r.jsonl", [], LOST)
    done = report([file], tmp_path / "out")
    for name in ("report.html", "report.md"):
        text = (tmp_path / "out" / name).read_text()
        assert "6 cells that were asked for are missing." in text
        assert "it fails; leave it out" in text
    assert verify(VerifySpec(path=tmp_path / "out")).exit_code == 0
    show(done.summary)
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_report_is_drawn_anew_where_only_the_missing_cells_differ(tmp_path: Path) -> None:
    entries = files("dense", DENSE)
    before = report([written(tmp_path / "a.jsonl", entries, [])], tmp_path / "out")
    assert "**Missing.**" not in (tmp_path / "out" / "report.md").read_text()
    after = report([written(tmp_path / "b.jsonl", entries, LOST)], tmp_path / "out")
    assert before.fresh and after.fresh
    assert "6 cells" in (tmp_path / "out" / "report.md").read_text()


def test_what_another_file_holds_is_not_missing(tmp_path: Path) -> None:
    part = {key: hits for key, hits in DENSE.items() if key != ("c", 1)}
    like = files("dense", DENSE)[0].record.subject
    lost = missing("dense", "c", 1, like)
    first = written(tmp_path / "a.jsonl", files("dense", part), [lost])
    assert read_files([first])[1] == [lost]
    later = written(tmp_path / "b.jsonl", files("dense", {("c", 1): 7}), [])
    assert read_files([first, later])[1] == []
    packed = tmp_path / "a.jsonl.gz"
    packed.write_bytes(gzip.compress(first.read_bytes()))
    assert read_files([packed, first])[1] == [lost]
    report([first, later], tmp_path / "out")
    assert verify(VerifySpec(path=tmp_path / "out")).exit_code == 0
    assert "asked for" not in (tmp_path / "out" / "report.md").read_text()


def test_two_files_that_give_two_reasons_are_read_in_the_order_they_were_given(
    tmp_path: Path,
) -> None:
    one, two = missing("l2", "a", 0, reason="one"), missing("l2", "a", 0, reason="two")
    paths = [written(tmp_path / f"{n}.jsonl", [], lost) for n, lost in enumerate(
        [[one], [two], [one]])]  # fmt: skip
    assert read_files(paths)[1] == [one]
    report(paths, tmp_path / "out")
    assert verify(VerifySpec(path=tmp_path / "out")).exit_code == 0
