"""The history: read from plain files, unlike machines apart, the same runs the same bytes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dgprune import cli
from dgprune.errors import DgpruneError
from dgprune.schema import Json
from dgprune.stage import Done
from reports.history import (
    first_difference,
    load_history,
    load_run,
    machine_key,
    machine_text,
    require_same_machine,
)
from reports.history_figure import draw_history
from reports.history_page import history_pages
from reports.report import report
from reports.verify import VerifySpec, verify
from tests.conftest import TinyChain
from tests.fakes.stored_runs import MACHINE, OTHER, slowed, store_run


@pytest.fixture
def store(tmp_path: Path) -> Path:
    store_run(tmp_path / "s", "b" * 40, 2, slowed(1.25))
    store_run(tmp_path / "s", "a" * 40, 1)
    store_run(tmp_path / "s", "c" * 40, 3, machine=OTHER)
    return tmp_path / "s"


def test_commits_are_in_order_and_machines_apart(store: Path) -> None:
    newest, oldest = load_history(store)
    assert newest.machine == OTHER
    assert newest.runs == ("c" * 9,)
    assert oldest.runs == ("a" * 9, "b" * 9)
    first, second = oldest.line("onnxruntime", "dense")
    assert oldest.change(first) is None
    assert oldest.change(second) == pytest.approx(0.25)
    assert (first.median_s, first.q1_s, first.rounds) == (0.004, 0.98 * 0.004, 100)


def test_changed_files_stand_behind_their_commit(tmp_path: Path) -> None:
    store_run(tmp_path, "a" * 40, 1, dirty=True)
    store_run(tmp_path, "a" * 40, 1)
    (history,) = load_history(tmp_path)
    assert history.runs == ("a" * 9, "a" * 9 + "+")


def test_a_key_follows_every_part_of_a_machine() -> None:
    keys = {machine_key(machine) for machine in (MACHINE, OTHER, {**MACHINE, "device": "gpu"})}
    assert len(keys) == 3
    assert machine_key(MACHINE) == machine_key(json.loads(json.dumps(MACHINE)))
    assert machine_key(MACHINE).startswith("cpu-")


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (OTHER, r"onnxruntime \(1.24.0 against 1.25.0\)"),
        (
            {**MACHINE, "environment": {**MACHINE["environment"], "cores": 4}},
            r"cores \(2 against 4\)",
        ),
        (
            {**MACHINE, "environment": {**MACHINE["environment"], "governor": "powersave"}},
            r"governor \(none against powersave\)",
        ),
        ({**MACHINE, "device": "gpu", "environment": {}}, r"device \(cpu against gpu\)"),
    ],
)
def test_unlike_machines_are_refused_and_the_first_difference_named(
    tmp_path: Path, other: Json, told: str
) -> None:
    first = store_run(tmp_path, "a" * 40, 1)
    second = store_run(tmp_path, "b" * 40, 2, machine=other)
    with pytest.raises(DgpruneError, match=f"{told}; measure both commits on one machine"):
        require_same_machine(first, second)


def test_runs_of_one_machine_are_handed_out(tmp_path: Path) -> None:
    first, second = store_run(tmp_path, "a" * 40, 1), store_run(tmp_path, "b" * 40, 2)
    before, after = require_same_machine(first, second)
    assert (before[0].run, after[0].run) == ("a" * 9, "b" * 9)
    assert first_difference(before[0].machine, after[0].machine) is None


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"benchmarks": [{}]}', '{"benchmarks": [1], "machine_info": 2}']
)
def test_a_file_of_something_else_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DgpruneError, match=r"x\.json.*(restore|remove)"):
        load_run(tmp_path / "x.json")


def test_no_run_is_one_clear_line(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(DgpruneError, match="no stored run; make one with make bench"):
            load_history(folder)


def test_a_stored_run_without_benchmarks_is_not_compared(tmp_path: Path) -> None:
    empty = store_run(tmp_path, "a" * 40, 1, {})
    with pytest.raises(DgpruneError, match="holds no benchmark"):
        require_same_machine(empty, store_run(tmp_path, "b" * 40, 2))


def test_a_machine_is_told_without_what_is_not_known() -> None:
    text = machine_text(MACHINE)
    assert "cores 2" in text
    assert "memory 8 GiB" in text
    assert "governor" not in text


@pytest.mark.parametrize(("kind", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_the_same_runs_give_the_same_picture(store: Path, kind: str, start: bytes) -> None:
    history = load_history(store)[1]
    picture = draw_history(history, kind)
    assert picture.startswith(start)
    assert picture == draw_history(history, kind)


def test_the_picture_has_a_panel_a_runtime_and_arm(store: Path) -> None:
    text = draw_history(load_history(store)[1], "svg").decode()
    for name in ("onnxruntime", "torch", "dense, ms a call", "pruned, ms a call", "a" * 9):
        assert f">{name}</text>" in text
    assert text.count('id="axes_') == 4


def test_the_table_beside_it_holds_the_same_numbers(store: Path) -> None:
    other, page = history_pages(load_history(store))
    assert page.header[2:] == (
        "dense, onnxruntime",
        "pruned, onnxruntime",
        "dense, torch",
        "pruned, torch",
    )
    assert page.rows[1] == (
        "b" * 9,
        "2026-01-02",
        "5.000 ms (+25.0 %)",
        "2.500 ms (+25.0 %)",
        "10.000 ms (+25.0 %)",
        "–",
    )
    assert "Apart, for another machine: it differs in onnxruntime" in page.title
    assert "Apart" not in other.title


def test_a_report_draws_the_history_the_same_every_time(
    chain: TinyChain, store: Path, tmp_path: Path
) -> None:
    outs = []
    for name in ("one", "two"):
        arguments = ["report", str(chain.records), "--history", str(store)]
        done = cli._step([*arguments, "--out", str(tmp_path / name)], quiet=True)
        assert isinstance(done, Done)
        paths = [path for path in done.path.parent.rglob("*") if path.is_file()]
        outs.append({path.name: path.read_bytes() for path in paths})
    assert outs[0] == outs[1]
    assert {"history-1.png", "history-2.png", "history.jsonl"} <= outs[0].keys()
    page, markdown = outs[0]["report.html"].decode(), outs[0]["report.md"].decode()
    for text in (page, markdown):
        assert "Latency over commits" in text
        assert "5.000 ms (+25.0 %)" in text
        assert "<b>One" not in text
    assert len(outs[0]["history.jsonl"].splitlines()) == 9


def test_a_new_run_makes_the_report_again_and_none_takes_the_history_away(
    chain: TinyChain, store: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert report([chain.records], out, history=store).fresh
    assert not report([chain.records], out, history=store).fresh
    store_run(store, "d" * 40, 4)
    assert report([chain.records], out, history=store).fresh
    assert "d" * 9 in (out / "report.md").read_text()
    assert report([chain.records], out).fresh
    assert "Latency over commits" not in (out / "report.md").read_text()
    assert not (out / "history-1.png").exists()


def test_the_history_of_a_report_is_verified_with_it(
    chain: TinyChain, store: Path, tmp_path: Path
) -> None:
    folder = report([chain.records], tmp_path / "out", history=store).path.parent
    assert verify(VerifySpec(path=folder)).exit_code == 0
    points = folder / "history.jsonl"
    points.write_text(points.read_text().replace("0.004", "0.003"))
    assert verify(VerifySpec(path=folder)).exit_code == 1


def test_drawing_the_history_does_not_load_torch() -> None:
    code = (
        "import sys, reports.history, reports.history_figure, reports.history_page; "
        "sys.exit('torch' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
