"""A report is a function of its records: anywhere, at any time, without torch or a network."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dgprune.errors import DgpruneError
from dgprune.records import AccuracyRecord, append_records, read_records
from reports.report import report
from tests.fakes.sweep_files import Sweep, files
from tests.fakes.sweeps import profile_of, sweep_records, write_records

ROOT = Path(__file__).parents[2]
SWEEP = Sweep(rounds=3, calls=2, depth=2, ratios=(0.5,), targets=("b", "c"), seeds=(0, 1))
# Every command of the tool is the module of its name; a connection raises.
RUN = """
import json, socket, sys
def refuse(*_, **__): raise OSError("a report asks no network")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
sys.argv = ["dgprune", "report", sys.argv[1], "--out", sys.argv[2], "--quiet"]
from dgprune.cli import main
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
heavy = ("torch", "torchvision", "timm", "onnx", "onnxruntime", "openvino", "matplotlib")
print(json.dumps([name for name in heavy if name in sys.modules]))
"""


@pytest.fixture
def records(tmp_path: Path) -> Path:
    found = sweep_records(SWEEP)
    found += [profile_of(SWEEP, file) for file in files(SWEEP) if file.criterion][:1]
    return write_records(tmp_path / "records.jsonl", found)


def contents(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def elsewhere(records: Path, out: Path, **environment: str) -> list[str]:
    """What heavy modules a report in a process of its own loads."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(records), str(out)],
        cwd=records.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_same_records_give_the_same_bytes_here_and_in_another_process(
    records: Path, tmp_path: Path
) -> None:
    first, again = (report([records], tmp_path / name).path.parent for name in ("a", "b"))
    assert contents(first) == contents(again)
    heavy = elsewhere(
        records, tmp_path / "c", PYTHONHASHSEED="7", TZ="Asia/Tokyo", LC_ALL="C", COLUMNS="40"
    )
    assert heavy == []
    assert contents(tmp_path / "c") == contents(first)


def test_records_in_two_files_are_those_of_one(records: Path, tmp_path: Path) -> None:
    lines = records.read_text().splitlines(keepends=True)
    parts = [tmp_path / "one", tmp_path / "two"]
    for part, some in zip(parts, (lines[:9], lines[9:]), strict=True):
        part.write_text("".join(some))
    whole, apart = report([records], tmp_path / "a").path, report(parts, tmp_path / "b").path
    assert contents(whole.parent) == contents(apart.parent)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_is_no_number_cannot_come_in(records: Path, number: str) -> None:
    line = records.read_text().splitlines()[0]
    value = json.loads(line)["scaled"]["nll_sum"]
    records.write_text(line.replace(f'"nll_sum":{value}', f'"nll_sum":{number}') + "\n")
    assert number in records.read_text()
    with pytest.raises(DgpruneError, match=r"records.jsonl:1 holds NaN or an infinity"):
        read_records(records)


def test_a_record_of_no_image_cannot_come_in() -> None:
    record = sweep_records(SWEEP)[0]
    assert isinstance(record, AccuracyRecord)
    none = {"confusion": ((0,) * 4,) * 4, "correct_hex": "0", "predictions_hex": None}
    with pytest.raises(ValueError, match="do not count the same images"):
        replace(record, **none, reliability=None, scaled=None)  # type: ignore[arg-type]


def test_two_files_of_one_name_are_two_rows_of_every_table(tmp_path: Path) -> None:
    sweep = replace(SWEEP, label="the same", targets=("c",), criteria=("l1",), ratios=(0.2, 0.4))
    page = report([write_records(tmp_path / "r", sweep_records(sweep))], tmp_path / "out").path
    text = page.read_text()
    details = text[text.index("<h3>Latency in detail") : text.index("<h3>A/A control")]
    names = [row.split("<td>")[1] for row in details.split("<tr>") if "the same" in row]
    assert len(names) == 8  # two ratios, two seeds, two batch sizes
    assert len(set(names)) == 4


def test_the_page_names_a_record_by_as_much_as_it_takes(tmp_path: Path) -> None:
    append_records(tmp_path / "r", "cell", sweep_records(SWEEP)[:30])
    text = report([tmp_path / "r"], tmp_path / "out").path.read_text()
    for entry in read_records(tmp_path / "r"):
        assert f"<tr id=r-{entry.id[:8]}><td>{entry.id[:8]}<td>" in text
