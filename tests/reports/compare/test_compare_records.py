"""`dgprune report --compare A B`: one page of two sets, the same bytes, verified."""

import shutil
from pathlib import Path

import pytest

from dgprune import cli
from dgprune.errors import DgpruneError
from dgprune.stage import Done
from reports.verify import VerifySpec, verify
from tests.conftest import TinyChain


def compared(*arguments: str) -> Done:
    done = cli._step(["report", *arguments], quiet=True)
    assert isinstance(done, Done)
    return done


def test_a_comparison_is_one_page_that_can_be_verified(chain: TinyChain, tmp_path: Path) -> None:
    both = ("--compare", str(chain.records), str(chain.records))
    one = compared(*both, "--out", str(tmp_path / "one")).path
    two = compared(*both, "--out", str(tmp_path / "two")).path
    assert one.name == "compare.html"
    names = sorted(path.name for path in one.parent.iterdir())
    assert names == ["compare.html", "compare.md", "first.jsonl", "report.json", "second.jsonl"]
    for name in names:
        assert (one.parent / name).read_bytes() == (two.parent / name).read_bytes()
    assert not compared(*both, "--out", str(tmp_path / "one")).fresh
    assert verify(VerifySpec(path=one.parent, artefacts=(chain.dense_artefact,))).exit_code == 0
    page = one.parent / "compare.md"
    page.write_text(page.read_text().replace("+0.0", "+9.0"))
    assert verify(VerifySpec(path=one.parent)).exit_code == 1


def test_a_report_is_a_set_of_records_too(chain: TinyChain, tmp_path: Path) -> None:
    report = compared(str(chain.records), "--out", str(tmp_path / "report")).path.parent
    done = compared("--compare", str(report), str(chain.records), "--out", str(tmp_path / "out"))
    assert "the same file, byte for byte: 2." in " ".join(done.summary["compared"])


def test_a_comparison_does_not_take_the_place_of_a_report_that_it_compares(
    chain: TinyChain, tmp_path: Path
) -> None:
    report = compared(str(chain.records), "--out", str(tmp_path / "report")).path
    for one in (report.parent, report.parent / "records.jsonl"):
        with pytest.raises(DgpruneError, match="which is compared; name another"):
            compared("--compare", str(chain.records), str(one), "--out", str(report.parent))
    assert report.is_file()


def test_a_report_and_a_comparison_take_the_place_of_each_other(
    chain: TinyChain, tmp_path: Path
) -> None:
    out = str(tmp_path / "out")
    compared(str(chain.records), "--out", out)
    compared("--compare", str(chain.records), str(chain.records), "--out", out)
    assert not (tmp_path / "out" / "report.html").exists()
    page = compared(str(chain.records), "--out", out).path
    assert page.is_file() and not (tmp_path / "out" / "first.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name one or more records files"),
        (["RECORDS", "--compare", "RECORDS", "RECORDS"], "takes two sets and nothing else"),
        (["--compare", "RECORDS", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--compare", "RECORDS", "EMPTY"], "no record in it"),
        (["--compare", "RECORDS", "FOLDER"], "records.jsonl"),
    ],
)
def test_what_cannot_be_compared_is_one_clear_line(
    chain: TinyChain, tmp_path: Path, arguments: list[str], said: str
) -> None:
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "folder").mkdir()
    places = {"RECORDS": chain.records, "EMPTY": tmp_path / "empty.jsonl"}
    places["FOLDER"] = tmp_path / "folder"
    given = [str(places.get(argument, argument)) for argument in arguments]
    with pytest.raises(DgpruneError, match=said):
        compared(*given, "--out", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_an_edited_set_is_found(chain: TinyChain, tmp_path: Path) -> None:
    page = compared(
        "--compare", str(chain.records), str(chain.records), "--out", str(tmp_path / "o")
    )
    kept = page.path.parent / "second.jsonl"
    shutil.copy(kept, tmp_path / "kept")
    kept.write_text("\n".join(kept.read_text().splitlines()[1:]) + "\n")
    assert verify(VerifySpec(path=page.path.parent)).exit_code == 1
