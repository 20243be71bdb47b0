"""Tables on a terminal: nothing that tells two rows apart is cut off, however narrow it is."""

import sys

import pytest

from dgprune.table import print_table

NAME = "deit_tiny_patch16_224 at 112 px: fisher-isomorphic-macs"
HEADER = ("recipe", "art_painting", "average of 4 targets")
BODY = [(f"{NAME}{share}", f"{share}.3 %", "1.25x [1.20, 1.30]") for share in (39, 68)]


@pytest.mark.parametrize("columns", [200, 80, 40])
def test_names_and_numbers_are_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    print_table("Files", HEADER, BODY)
    page = capsys.readouterr().err
    assert "…" not in page
    flat = "".join(character for character in page if character not in "│┃ \n")
    for share in ("39", "68"):
        assert f"{share}.3%" in flat
        assert f"macs{share}" in flat
    assert page.count("1.25x [1.20, 1.30]") == 2
