"""Exit codes and streams: what a pipeline sees when nobody reads on, or a stream is closed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dgprune import cli
from dgprune.exit_code import OWN_FAILURE, exit_code_of
from dgprune.schema import seal
from tests.conftest import TinyChain

CLAIMS = Path(__file__).parents[1] / "reports" / "published" / "claims"
DGPRUNE = f"{sys.executable} -m dgprune"


def shell(command: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """What bash makes of it; the exit code is that of dgprune, wherever it stands in a pipe."""
    script = f"set -o pipefail; {command}"
    return subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("--help", 0),
        ("recipe", 0),
        (f"verify {CLAIMS} --json", 0),
        ("inspect nope", 2),
    ],
)
def test_a_reader_that_goes_away_changes_no_exit_code(
    tmp_path: Path, command: str, code: int
) -> None:
    """`true` has ended before anything is printed."""
    done = shell(f"{{ sleep 1; {DGPRUNE} {command}; }} | true", tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (f"verify {CLAIMS} 2>&-", 0),
        (f"verify {CLAIMS} --quiet >&-", 0),
        ("inspect nope 2>&-", 2),
        ("inspect nope 2>/dev/full", 2),
    ],
)
def test_a_closed_or_full_stream_changes_no_exit_code(
    tmp_path: Path, command: str, code: int
) -> None:
    assert shell(f"{DGPRUNE} {command}", tmp_path).returncode == code


def test_a_name_that_is_no_text_is_printed_as_it_is(chain: TinyChain, tmp_path: Path) -> None:
    command = f"{DGPRUNE} report {chain.records} --quiet --out $'bad\\xff'"
    done = shell(command, tmp_path, PYTHONIOENCODING="utf-8:strict")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / os.fsdecode(b"bad\xff") / "report.html").is_file()


def test_a_mistake_of_our_own_is_no_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    """Python would end with 1, which says that a file is slower, or a number differs."""
    assert exit_code_of(lambda: [][1]) == OWN_FAILURE
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Traceback")
    assert lines[-1].startswith("error: this is a mistake of dgprune's own; please report")


def test_records_from_a_pipe_are_kept(chain: TinyChain, tmp_path: Path) -> None:
    pipe = f"{DGPRUNE} report <(cat {chain.records}) --out piped --quiet"
    assert shell(pipe, tmp_path).returncode == 0
    assert (tmp_path / "piped" / "records.jsonl").read_bytes() == chain.records.read_bytes()
    assert cli._exit_code(["verify", str(tmp_path / "piped"), "--quiet"]) == 0


@pytest.mark.parametrize("what", ["{}", "[]", "a claim alone", "of schema 1", "edited"])
def test_what_cannot_be_verified_is_no_difference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    """1 says that a number differs; of the others nothing is known."""
    path = tmp_path / "claim.json"
    claim = json.loads(next(CLAIMS.glob("claim-*.json")).read_text())
    older = {key: value for key, value in claim.items() if key != "id"} | {"schema": 1}
    texts = {"of schema 1": seal(older), "edited": claim | {"schema": 1}}
    path.write_text(what if what in ("{}", "[]") else json.dumps(texts.get(what, claim)))
    if what in texts:
        shutil.copy(CLAIMS / "records.jsonl", tmp_path)
    code = cli._exit_code(["verify", str(path)])
    assert code == (1 if what == "edited" else 2)
    said = capsys.readouterr().err
    assert said.startswith("not verified: " if what == "edited" else "error: ")
    assert ("make its report again" in said) == (what == "of schema 1")


def test_an_artefact_that_is_none_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._exit_code(["verify", str(CLAIMS), "--artefact", "nope"]) == 2
    assert "--artefact nope is not an artefact folder" in capsys.readouterr().err
