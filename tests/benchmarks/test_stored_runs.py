"""`make bench` and `make bench-history`: where a run is stored, what it says, how it is shown."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dgprune.environment import current_environment
from dgprune.schema import encode
from reports.history import load_run, machine_key
from tests.benchmarks import history, measure
from tests.benchmarks.machine import this_machine
from tests.benchmarks.measure import stored_at
from tests.benchmarks.trees import ROOT
from tests.conftest import MICRO
from tests.fakes.stored_runs import MACHINE, OTHER, slowed, store_run


def test_the_folder_follows_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = stored_at(tmp_path)
    assert here == stored_at(tmp_path)
    environment = encode(current_environment())
    del environment["device"]  # of a GPU, which no stored run uses
    assert this_machine()["environment"] == environment
    elsewhere = {**this_machine(), "environment": {**this_machine()["environment"], "cores": 999}}
    monkeypatch.setattr(measure, "this_machine", lambda: elsewhere)
    assert stored_at(tmp_path).parent != here.parent
    assert stored_at(tmp_path).name == here.name


def test_nothing_in_a_machine_names_its_host() -> None:
    assert os.uname().nodename not in json.dumps(this_machine())


def test_a_run_is_stored_whole_in_the_plugins_format(
    tmp_path: Path,
) -> None:
    """A real run of one benchmark in a process of its own, on the smallest model."""
    code = (
        "import pathlib, sys; import tests.benchmarks.artefacts as made; "
        f"made.SMALL = made.Size(model={MICRO!r}, image_size_px=32); made.RUNTIMES = ('torch',); "
        "from tests.benchmarks.measure import main; "
        "sys.exit(main(sys.argv[2:], pathlib.Path(sys.argv[1])))"
    )
    options = ("--benchmark-min-rounds=5", "--benchmark-max-time=0.01")
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "store"), *options],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (path,) = (tmp_path / "store").rglob("*.*")
    points = load_run(path)
    assert path == stored_at(tmp_path / "store")
    assert {(point.runtime, point.arm) for point in points} == {
        ("torch", "dense"),
        ("torch", "pruned"),
    }
    assert all(point.q1_s <= point.median_s <= point.q3_s for point in points)
    assert all(point.rounds >= 5 for point in points)
    assert points[0].machine == this_machine()
    assert path.parent.name == machine_key(points[0].machine)


def test_the_history_is_one_table_a_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store_run(tmp_path, "a" * 40, 1)
    store_run(tmp_path, "b" * 40, 2, slowed(1.25))
    store_run(tmp_path, "c" * 40, 3, machine=OTHER)
    store_run(tmp_path, "d" * 40, 1, machine=this_machine())
    assert history.main([], tmp_path) == 0
    told = capsys.readouterr().err
    titles = [line for line in told.splitlines() if "machine" in line]
    assert titles[0].startswith("this machine: device cpu")
    assert len(titles) == 3
    assert all(title.startswith("another machine, it differs in ") for title in titles[1:])
    assert re.search(r"5\.000 ms +\(\+25\.0 %\)", told)
    assert history.NOTE in told


def test_two_files_of_one_machine_stand_side_by_side(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = store_run(tmp_path, "a" * 40, 1)
    second = store_run(tmp_path, "b" * 40, 2, slowed(0.5))
    assert history.main([str(first), str(second)]) == 0
    assert re.search(r"4\.000 ms +2\.000 ms +\(-50\.0 %\)", capsys.readouterr().err)


def test_unlike_machines_and_a_wrong_number_of_files_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = store_run(tmp_path, "a" * 40, 1, machine=MACHINE)
    second = store_run(tmp_path, "b" * 40, 2, machine=OTHER)
    for files in ([str(first), str(second)], [str(first)]):
        assert history.main(files) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
    assert history.main([], tmp_path / "empty") == 2
