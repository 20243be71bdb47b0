"""`dgprune data`: every subcommand and flag, and what `--data NAME` says."""

import json
import shutil
from pathlib import Path

import pytest

from dgprune import cli
from dgprune.data.cache_folders import owned
from dgprune.data.known import KNOWN
from tests.dgprune.data.loads import Listener, domains_in, load

Capture = pytest.CaptureFixture[str]


def run(capsys: Capture, *arguments: object) -> tuple[int, str, str]:
    code = cli._exit_code(["data", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_the_list_names_what_is_known_and_where_it_is(capsys: Capture) -> None:
    assert run(capsys) == run(capsys, "list")
    code, out, _ = run(capsys, "list")
    assert code == 0
    assert "pacs: 9991 images, 7 classes\n  art_painting 2048, cartoon 2344" in out
    assert "terra-incognita: 24788 images" in out and "rotated-digits" in out
    listed = json.loads(run(capsys, "list", "--json")[1])["known"]
    assert [known["name"] for known in listed] == [known.name for known in KNOWN]
    assert listed[0]["domains"]["sketch"] == [3929]
    assert all("https://github.com/facebookresearch/DomainBed" in k["archive"] for k in listed)


def test_a_folder_that_is_right(photos: Path, capsys: Capture) -> None:
    code, out, err = run(capsys, "check", photos)
    assert (code, out) == (0, f"{photos}\n")
    assert "domain   images  published  classes  unreadable" in err
    assert "domain2  20      -          2        0" in err
    assert err.splitlines()[-1] == "nothing wrong"
    assert run(capsys, "check", photos, "--quiet") == (0, f"{photos}\n", "")


def test_a_folder_that_is_wrong(photos: Path, capsys: Capture) -> None:
    shutil.copy(photos / "domain0/class0/1.png", photos / "domain2/class0/1.png")
    code, out, err = run(capsys, "check", photos, "--quiet")
    assert (code, out) == (1, f"{photos}\n")
    assert "published  classes" not in err  # --quiet leaves the table out, never what is wrong
    assert err.splitlines()[1].startswith("wrong: domain0/class0/1.png = domain2/class0/1.png")
    assert err.splitlines()[-1] == "1 thing(s) wrong"
    code, out, _ = run(capsys, "check", photos, "--json")
    found = json.loads(out)
    assert (code, found["right"], len(found["problems"])) == (1, False, 1)
    assert found["domains"][0]["images"] == 20


def test_the_name_decides_what_is_compared(photos: Path, capsys: Capture) -> None:
    code, _, err = run(capsys, "check", photos, "--name", "Office-Home")
    assert code == 1
    assert "wrong: 2 classes, office-home has 65" in err
    assert "https://www.hemanthdv.org/officeHomeDataset.html" in err.splitlines()[-1]


def test_many_of_a_kind_are_counted(photos: Path, capsys: Capture) -> None:
    for path in photos.glob("*/class0/*.png"):
        path.write_bytes(b"hello")
    code, _, err = run(capsys, "check", photos)
    told = [line for line in err.splitlines() if "is unreadable" in line]
    assert (code, len(told)) == (1, 20)
    assert "wrong: 10 more of the kind 'unreadable' (--json lists all)" in err
    found = json.loads(run(capsys, "check", photos, "--json")[1])
    assert len(found["problems"]) == 30 and found["domains"][0]["unreadable"] == 10


def test_a_cache_that_is_off_is_not_cleared(
    photos: Path, cache: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program may use the one at home."""
    load(photos)
    before = set(domains_in(cache))
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache.parent))
    monkeypatch.setenv("DGPRUNE_CACHE", "off")
    code, _, err = run(capsys, "clear-cache")
    assert code == 2 and "DGPRUNE_CACHE=off: no cache is in use" in err
    assert before and set(domains_in(cache)) == before


def test_clear_cache_removes_decoded_images_only(
    photos: Path, cache: Path, capsys: Capture
) -> None:
    load(photos)
    (cache / "latency-table.jsonl").write_text("{}\n")
    (cache / "images" / "holiday.jpg").write_text("x")
    busy = domains_in(cache)["domain1"]
    with owned(busy):
        code, out, err = run(capsys, "clear-cache")
    assert (code, out) == (0, f"{cache / 'images'}\n")
    assert err == (
        "removed 0.0 MB of decoded images\nleft 1 domain(s) that are being decoded right now\n"
    )
    assert set(domains_in(cache)) == {"domain1"}
    freed = json.loads(run(capsys, "clear-cache", "--json", "--quiet")[1])
    assert freed["freed_bytes"] > 20 * 16 * 16 * 3
    assert {path.name for path in (cache / "images").iterdir()} == {"holiday.jpg"}
    assert (cache / "latency-table.jsonl").is_file()
    assert run(capsys, "clear-cache", "--quiet")[2] == ""
    listener = Listener()
    load(photos, listener=listener)
    assert listener.decoded == 60


@pytest.mark.parametrize("name", ["pacs", "PACS", "Office-Home", "office_home", "domainnet"])
def test_a_known_name_as_data_says_how_to_get_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    where = ("--data", name, "--target", "photo", "--out", "out")
    assert cli._exit_code(["finetune", "vit_micro_patch4_32", *where]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"--data {name}" in line and "domainbed.scripts.download" in line
    assert "pass that folder" in line
