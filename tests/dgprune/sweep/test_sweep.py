"""Sweeps of trivial cells: what is killed goes on, what fails stays alone, what is done stays."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from dgprune.errors import DgpruneError
from dgprune.progress import SILENT, Progress
from dgprune.stage import Done
from dgprune.sweep.journal import JOURNAL, Ended, Journal, read_journal
from dgprune.sweep.sweep import SweepSpec, failure_lines, plan_only, sweep
from tests.dgprune.sweep.trivial import calls, invoke, log_of, write_plan

SLOW = ("slow-0.2", "slow-0.21")


class Heard:
    """Progress that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    track = SILENT.track


@pytest.fixture
def spec(data_folder: Path, tmp_path: Path) -> SweepSpec:
    return SweepSpec(plan=write_plan(tmp_path / "plan.toml", data_folder), out=tmp_path / "out")


def of(spec: SweepSpec, criteria: Sequence[str], seeds: Sequence[int] = (0,)) -> SweepSpec:
    data = spec.plan.read_text().split('"')[1]
    write_plan(spec.plan, data, criteria=criteria, seeds=seeds)
    return spec


def run(spec: SweepSpec, progress: Progress = SILENT) -> Done:
    return sweep(spec, invoke, progress)


def start(spec: SweepSpec, *how: str) -> "subprocess.Popen[str]":
    """A sweep in a process of its own."""
    program = [sys.executable, "-m", "tests.dgprune.sweep.trivial"]
    return subprocess.Popen(
        [*program, str(spec.plan), str(spec.out), *how],
        stderr=subprocess.PIPE,
        text=True,
        # A background job of a shell inherits an ignored SIGINT; a terminal's child does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def until(true: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def lines_of(spec: SweepSpec) -> list[Ended]:
    return read_journal(spec.out / JOURNAL)


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")")[-1].split()[0] != "Z"
    except OSError:
        return False


def temporaries(store: Path) -> list[str]:
    return [path.name for path in store.rglob("*.tmp")]


def whole_run(spec: SweepSpec) -> bytes:
    """The records of the same plan where nothing is killed."""
    other = replace(spec, out=spec.out.with_name("whole"), ray=None)
    assert run(other).exit_code == 0
    return (other.out / "records.jsonl").read_bytes()


def test_records_stand_in_the_order_of_the_plan_and_nothing_is_done_twice(spec: SweepSpec) -> None:
    first = run(replace(spec, jobs=2))
    assert (first.exit_code, first.fresh) == (0, True)
    assert first.summary == {"cells": 18, "done": 18, "failed": [], "skipped": 0}
    records = (spec.out / "records.jsonl").read_bytes()
    assert records == whole_run(spec)
    assert set(calls(spec.out).values()) == {1}
    assert calls(spec.out).total() == 6 * 3 + 12 * 4
    heard = Heard()
    assert run(spec, heard).summary["done"] == 18
    assert "nothing to do: all 18 cells were already done" in heard.lines
    assert calls(spec.out).total() == 6 * 3 + 12 * 4
    assert (spec.out / "records.jsonl").read_bytes() == records
    assert (spec.out / "plan.toml").read_text() == spec.plan.read_text()


def test_a_killed_driver_takes_its_workers_along_and_the_next_goes_on(spec: SweepSpec) -> None:
    of(spec, SLOW)
    for done, sent in ((2, signal.SIGKILL), (4, signal.SIGINT), (6, signal.SIGKILL)):
        process = start(spec, "--jobs", "2")
        until(lambda done=done: len(lines_of(spec)) >= done)  # type: ignore[misc]
        workers = {int(words[-2]) for words in log_of(spec.out)}
        process.send_signal(sent)
        process.communicate(timeout=20)
        assert process.returncode != 0
        until(lambda workers=workers: not any(map(alive, workers)), 15)  # type: ignore[misc]
        assert temporaries(spec.out) == [] or sent == signal.SIGKILL
    assert len(lines_of(spec)) < 9
    assert run(replace(spec, resume=True)).exit_code == 0
    assert temporaries(spec.out) == []
    assert (spec.out / "records.jsonl").read_bytes() == whole_run(spec)
    assert set(calls(spec.out).values()) == {1}
    assert len(lines_of(spec)) == len({line.cell for line in lines_of(spec)}) == 9


def test_a_killed_worker_is_replaced_and_its_cell_made_again(spec: SweepSpec) -> None:
    of(spec, SLOW)
    process = start(spec, "--jobs", "2")
    until(lambda: (spec.out / JOURNAL).exists() and len(lines_of(spec)) >= 3)
    os.kill(int(log_of(spec.out)[-1][-2]), signal.SIGKILL)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 0, told
    assert "again: " in told
    assert "SIGKILL" in told
    assert (spec.out / "records.jsonl").read_bytes() == whole_run(spec)
    assert set(calls(spec.out).values()) == {1}


def test_failures_stay_alone_and_are_tried_again(spec: SweepSpec) -> None:
    of(spec, ["l1", "fails", "breaks", "dies", "dies-once"])
    plan = spec.plan.read_text().replace('targets = ["all"]', 'targets = ["domain1"]')
    spec.plan.write_text(plan)
    done = run(replace(spec, retries=1))
    assert done.exit_code == 1
    assert (done.summary["done"], done.summary["skipped"]) == (3, 0)
    said = {text.split(": ")[1]: text for text in done.summary["failed"]}
    assert "on purpose; leave it out" in said["fails-global-50"]
    assert "RuntimeError: it breaks on purpose" in said["breaks-global-50"]
    assert "SIGKILL" in said["dies-global-50"]
    assert calls(spec.out)["broke"] == 2  # one retry; what dgprune refuses is not tried again
    lines = failure_lines(spec, done.summary)
    assert lines[-1].endswith(f"dgprune sweep {spec.plan} --out {spec.out} --resume")
    assert len(lines) == 4
    assert [line.state for line in lines_of(spec)].count("failed") == 3
    run(replace(spec, retries=3))
    assert calls(spec.out)["broke"] == 2 + 4
    spec.plan.write_text(plan.replace('"fails", "breaks", "dies", ', ""))
    assert run(spec).exit_code == 0
    assert calls(spec.out)["broke"] == 2 + 4


def refuses_dense(arguments: Sequence[str]) -> Done:
    """The dense model of domain1 fails."""
    if arguments[0] == "finetune" and "domain1" in arguments and "--teacher" not in arguments:
        raise DgpruneError("no such weights; name others")
    return invoke(arguments)


def test_what_starts_from_a_failed_cell_is_skipped_and_counted(spec: SweepSpec) -> None:
    heard = Heard()
    done = sweep(of(spec, ["l1", "l2"]), refuses_dense, heard)
    assert (done.exit_code, done.summary["done"], done.summary["skipped"]) == (1, 6, 2)
    assert sum("its dense model failed" in line for line in heard.lines) == 2
    assert "2 skipped" in failure_lines(spec, done.summary)[-1]


@pytest.mark.parametrize("how", ["gone", "changed", "folder"])
def test_what_was_damaged_is_made_again(spec: SweepSpec, how: str) -> None:
    of(spec, ["l1"])
    run(spec)
    before, records = calls(spec.out), (spec.out / "records.jsonl").read_bytes()
    made = lines_of(spec)[-1].made
    assert made is not None
    file = spec.out / "cells" / f"{lines_of(spec)[-1].cell}.jsonl"
    if how == "gone":
        file.unlink()
    elif how == "changed":
        file.write_text(file.read_text().replace("a", "b"))
    else:
        folder = spec.out / made.artefact
        folder.rename(folder.with_name("elsewhere"))
    assert run(spec).exit_code == 0
    assert (spec.out / "records.jsonl").read_bytes() == records
    again = calls(spec.out) - before
    assert {name.split("-")[0].split(" ")[0] for name in again} <= {"export", "evaluate"}
    assert again[f"evaluate {made.artefact}"] == 1


def test_a_line_torn_by_a_crash_costs_that_line_only(spec: SweepSpec) -> None:
    of(spec, ["l1"])
    run(spec)
    journal = spec.out / JOURNAL
    journal.write_bytes(journal.read_bytes()[:-20])
    before = calls(spec.out)
    assert len(lines_of(spec)) == 5
    assert run(spec).exit_code == 0
    assert calls(spec.out) == before  # its stages and its records were whole
    assert len(lines_of(spec)) == 6


def test_another_line_than_the_last_is_named(spec: SweepSpec) -> None:
    run(of(spec, ["l1"]))
    journal = spec.out / JOURNAL
    whole = journal.read_text()
    for broken, says in (("\n" + whole, ":1 .*remove the line"), (whole[5:], ":1 ")):
        journal.write_text(broken)
        with pytest.raises(DgpruneError, match=says):
            run(spec)
    journal.write_text(whole.replace('"schema":2', '"schema":9'))
    with pytest.raises(DgpruneError, match="schema 9"):
        run(spec)


def test_another_plan_in_the_same_folder_finds_the_cells_they_share(spec: SweepSpec) -> None:
    run(of(spec, ["l1"]))
    first = (spec.out / "records.jsonl").read_bytes()
    run(of(spec, ["l2", "l1"]))
    assert set(calls(spec.out).values()) == {1}
    assert (spec.out / "records.jsonl").read_bytes() == whole_run(spec)
    run(of(spec, ["l1"]))
    assert (spec.out / "records.jsonl").read_bytes() == first


def test_two_sweeps_in_one_folder(spec: SweepSpec) -> None:
    process = start(of(spec, SLOW))
    until(lambda: lines_of(spec))
    with pytest.raises(DgpruneError, match=f"another sweep runs here .process {process.pid} on "):
        run(spec)
    plan_only(spec)  # looking is allowed
    process.kill()
    process.communicate()
    assert run(spec).exit_code == 0


def test_a_dry_run_counts_estimates_and_writes_nothing(spec: SweepSpec) -> None:
    heard = Heard()
    done = plan_only(spec, heard)
    assert done.summary["cells"] == {"dense": 6, "pruned": 12}
    assert (done.summary["done"], done.summary["estimated_s"]) == (0, None)
    assert not spec.out.exists()
    assert "dense: 6 cells, 0 done" in heard.lines
    assert any("unknown" in line for line in heard.lines)
    run(of(spec, ["l1"]))
    seconds = {kind: [e.seconds for e in lines_of(spec) if e.kind == kind] for kind in ("pruned",)}
    before = {path: path.stat().st_mtime_ns for path in spec.out.rglob("*")}
    done = plan_only(replace(of(spec, ["l1", "l2", "random"]), jobs=3))
    assert done.summary["done"] == 6
    expected = 6 * sum(seconds["pruned"]) / len(seconds["pruned"]) / 3
    assert done.summary["estimated_s"] == pytest.approx(expected)
    assert {path: path.stat().st_mtime_ns for path in spec.out.rglob("*")} == before


def test_latency_is_measured_after_all_cells_by_the_driver(spec: SweepSpec) -> None:
    of(spec, ["l1"])
    with spec.plan.open("a") as file:
        file.write('[bench]\nbatch = [1]\ntier = "smoke"\nthreads = 1\n')
    run(replace(spec, jobs=2))
    log = log_of(spec.out)
    assert [words[0] for words in log][-7:] == ["bench"] * 6 + ["report"]
    assert {words[-2] for words in log[-7:]} == {str(os.getpid())}
    records = [json.loads(line) for line in (spec.out / "records.jsonl").read_text().splitlines()]
    arms = [record["latency"] for record in records if "latency" in record]
    assert [new == old for new, old in arms] == [True, False] * 3  # A/A control, then pruned
    assert {old for _, old in arms} == {new for new, old in arms if new == old}


@pytest.mark.parametrize(("jobs", "cpus"), [(1, 1), (3, 2)])
def test_jobs_and_threads(spec: SweepSpec, jobs: int, cpus: int) -> None:
    run(replace(of(spec, SLOW), jobs=jobs, cpus_per_cell=cpus))
    workers = [words for words in log_of(spec.out) if words[0] != "report"]
    assert len({words[-2] for words in workers}) == jobs
    assert {words[-1] for words in workers} == {str(cpus)}


def test_resume_needs_something_to_resume(spec: SweepSpec) -> None:
    with pytest.raises(DgpruneError, match="holds no sweep"):
        run(replace(spec, resume=True))
    assert not spec.out.exists()


@pytest.mark.parametrize(
    "wrong", [{"jobs": 0}, {"cpus_per_cell": 0}, {"gpus_per_cell": -1.0}, {"gpus_per_cell": 1.5}]
)
def test_wrong_numbers(spec: SweepSpec, wrong: dict[str, float]) -> None:
    with pytest.raises(DgpruneError, match="must be"):
        replace(spec, **wrong)  # type: ignore[arg-type]


def test_the_journal_is_on_the_disk_line_by_line(
    spec: SweepSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(of(spec, ["l1"]))
    synced: list[bytes] = []
    path = tmp_path / "journal.jsonl"
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(path.read_bytes()))
    with Journal(path) as journal:
        for line in lines_of(spec):
            journal.write(line)
    assert [data.count(b"\n") for data in synced] == [1, 2, 3, 4, 5, 6]
    assert read_journal(path) == lines_of(spec)
