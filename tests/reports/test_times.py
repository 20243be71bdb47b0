"""A speedup of a single round has no limits: dashes on pages, null in JSON, and no verdict."""

import csv
import json
import math
import re
from pathlib import Path

import pytest

from dgprune import cli
from dgprune.records import Record
from dgprune.stage import Done
from dgprune.statistics import Interval
from reports.compare.compare_records import compare_records
from reports.compare.matched import ratio_of
from tests.fakes.sweep_files import Sweep
from tests.fakes.sweeps import sweep_records, write_records

SWEEP = Sweep(criteria=("l1", "taylor"), ratios=(0.5,), batches=(1,), rounds=1)
INFINITE = re.compile(r"\binf(inity)?\b", re.IGNORECASE)


@pytest.fixture
def records(tmp_path: Path) -> Path:
    found: list[Record] = sweep_records(SWEEP)
    return write_records(tmp_path / "r.jsonl", found)


def test_pages_tables_and_cards_have_dashes(records: Path, tmp_path: Path) -> None:
    done = cli._step(["report", str(records), "--out", str(tmp_path / "out")], quiet=True)
    assert isinstance(done, Done)
    folder = tmp_path / "out"
    texts = [p for p in folder.rglob("*") if p.suffix in {".md", ".tex", ".csv"}]
    assert len(texts) > 5
    for path in texts:
        assert not INFINITE.search(path.read_text()), path
    body = re.sub(r"<script.*?</script>", "", (folder / "report.html").read_text(), flags=re.DOTALL)
    assert "[–, –]" in body and not INFINITE.search(body)
    assert "x [–, –]" in (folder / "report.md").read_text()
    assert "batch 1, without an interval (inconclusive)." in (folder / "report.md").read_text()
    for row in csv.DictReader((folder / "tables" / "latency.csv").open()):
        assert row["speedup"] and not row["speedup_low"] and not row["speedup_high"]


def test_json_has_null_and_the_terminal_a_dash(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli._exit_code(["report", str(records), "--out", str(tmp_path / "a"), "--json"]) == 0
    out = capsys.readouterr().out
    told = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    (rows,) = (rows for title, rows in told.items() if title.startswith("vit_tiny"))
    cells = [row["speedup"]["1"] for row in rows if row["speedup"]]
    assert len(cells) == 2 and all(cell["low"] is cell["high"] is None for cell in cells)
    assert cli._exit_code(["report", str(records), "--out", str(tmp_path / "b")]) == 0
    assert "x [-, -]" in capsys.readouterr().err


def test_two_sets_without_limits_are_compared(records: Path, tmp_path: Path) -> None:
    folder = compare_records(records, records, tmp_path / "out").path.parent
    page = (folder / "compare.md").read_text().replace("\\", "")
    assert "1.00x [–, –]" in page and not INFINITE.search(page)


def test_a_ratio_with_a_side_that_has_no_limits_has_none() -> None:
    exact = Interval(low=2.0, estimate=2.0, high=2.0)
    for low, high in ((0.0, math.inf), (0.0, 4.0), (1.0, math.inf)):
        endless = Interval(low=low, estimate=2.0, high=high)
        for pair in ((exact, endless), (endless, exact), (endless, endless)):
            assert ratio_of(*pair) == Interval(low=0.0, estimate=1.0, high=math.inf)
