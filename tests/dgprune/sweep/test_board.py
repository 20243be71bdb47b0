"""The live table counts states, names what runs, and lets lines through."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from dgprune.progress import Bars
from dgprune.sweep.board import Board
from dgprune.sweep.cells import cells_of
from dgprune.sweep.estimate import Estimate
from dgprune.sweep.plan import read_plan
from tests.dgprune.sweep.trivial import write_plan


def test_the_table_follows_the_cells(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = write_plan(tmp_path / "plan.toml", data_folder, criteria=["l1"])
    board = Board(progress=Bars(), estimate=Estimate(), slots=2)
    cells = cells_of(read_plan(plan))
    for cell in cells:
        board.add(cell, "waiting")
    board.move(cells[0], "waiting", "running")
    board.move(cells[2], "waiting", "running")
    written = io.StringIO()
    terminal = Console(file=written, force_terminal=True, width=100)
    monkeypatch.setattr("rich.console.Console", lambda **how: terminal)
    with board.shown():
        board.move(cells[0], "running", "done", said="3 s")
        board.move(cells[2], "running", "failed", said="it broke")
        board.move(cells[3], "waiting", "skipped", said="its dense model failed")
        board.move(cells[1], "waiting", "running")
        page = Console(file=io.StringIO(), width=100)
        page.print(board.table())
    shown = page.file.getvalue()  # type: ignore[attr-defined]
    rows = {line.split()[0]: line.split()[1:] for line in shown.splitlines() if line.split()}
    assert rows["dense"] == ["1", "0", "4", "1", "0"]
    assert rows["pruned"] == ["0", "1", "4", "0", "1"]
    assert f"{cells[1].name} (" in shown
    assert cells[0].name not in shown
    told = written.getvalue()
    assert "failed: " in told
    assert "it broke" in told
    assert "done: " not in told  # the table shows those
