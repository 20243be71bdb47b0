"""`dgprune sweep` as a user meets it: real cells, options, one line where something is wrong."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dgprune import cli
from dgprune.errors import DgpruneError
from dgprune.progress import Progress
from dgprune.records import read_records
from dgprune.stage import Done
from dgprune.sweep.plan import PlanFile
from dgprune.sweep.sweep import SweepSpec, failure_lines, sweep
from reports.verify import VerifySpec, verify
from tests.conftest import MICRO
from tests.dgprune.sweep.trivial import write_plan

TRAIN = (
    *("--epochs", "1", "--lr", "1e-3", "--batch-size", "8", "--weight-decay", "0.05"),
    *("--warmup-epochs", "0.5", "--label-smoothing", "0", "--augmentation", "glyph"),
)


@pytest.fixture
def plan(data_folder: Path, tmp_path: Path) -> Path:
    return write_plan(
        tmp_path / "plan.toml", data_folder, criteria=["taylor"], targets=["domain1"], seeds=[3]
    )


def by_hand(data: Path, store: Path) -> bytes:
    """The records of the plan's two cells, from the commands that a person would type."""

    def step(*arguments: str) -> str:
        done: Done = cli._step([*arguments, "--data", str(data)], quiet=True)
        return str(done.path)

    into, where = ("--out", str(store)), ("--target", "domain1")
    seed, records = ("--seed", "3"), ("--records", str(store / "records.jsonl"))
    start = (MICRO, "--weights", "random", "--image-size", "32")
    how = ("--criterion", "taylor", "--ranking", "global", "--ratio", "0.5", "--score-images", "4")
    taught = ("--distill-weight", "0.5", "--temperature", "3")
    dense = step("finetune", *start, *where, *into, *seed, *TRAIN)
    pruned = step("prune", dense, *where, *into, *seed, *how, "--no-refit")
    student = (*where, *into, *seed, *taught, *TRAIN)
    recovered = step("finetune", pruned, "--teacher", dense, *student)
    for checkpoint in (dense, recovered):
        step("evaluate", step("export", checkpoint, *into), *where, *records)
    return (store / "records.jsonl").read_bytes()


def test_real_cells_leave_the_records_of_the_commands(
    plan: Path,
    data_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as many as a cell gets: records name them
    out = tmp_path / "out"
    command = ["sweep", str(plan), "--out", str(out), "--json"]
    assert cli._exit_code(command) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["path"] == str(out / "report" / "report.html")
    assert (printed["cells"], printed["done"], printed["fresh"]) == (2, 2, True)
    assert (out / "records.jsonl").read_bytes() == by_hand(data_folder, tmp_path / "hand")
    labels = [entry.record.subject.label for entry in read_records(out / "records.jsonl")]
    assert labels == ["dense"] * 3 + ["taylor-50"] * 3
    assert cli._exit_code(command) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["fresh"] is False
    assert "nothing to do: all 2 cells were already done" in captured.err
    records = (out / "records.jsonl").read_bytes()
    for weights in out.glob("finetuned-taylor*/weights.safetensors"):
        os.truncate(weights, 1000)
    assert cli._exit_code(command) == 0
    assert "weights.safetensors has 1000 bytes, not " in capsys.readouterr().err
    assert (out / "records.jsonl").read_bytes() == records


def refuses(arguments: Sequence[str]) -> Done:
    """The real commands, but L1 never works, and nothing does where domain1 is held out."""
    if "l1" in arguments or "domain1" in arguments:
        raise DgpruneError("no such criterion; name another")
    done: Done = cli._step(arguments, quiet=True)
    return done


def test_a_real_report_counts_what_failed(data_folder: Path, tmp_path: Path) -> None:
    targets = ["domain0", "domain1"]
    plan = write_plan(
        tmp_path / "plan.toml", data_folder, criteria=["taylor", "l1"], targets=targets, seeds=[3]
    )
    spec = SweepSpec(plan=plan, out=tmp_path / "out")
    assert sweep(spec, refuses).exit_code == 1
    page = (spec.out / "report" / "report.md").read_text()
    assert "4 cells that were asked for are missing." in page
    assert "2: no such criterion; name another" in page
    assert "2: its dense model failed" in page
    table = page.partition("## Over targets")[2].partition("\n## ")[0]
    lines = [line.replace("\\", "").strip("| ").split(" | ") for line in table.splitlines()]
    rows = {first.split(": ")[1]: rest[:3] for first, *rest in lines if " px: " in first}
    assert list(rows) == ["dense", "l1-global-50", "taylor-50"]
    for there in ("dense", "taylor-50"):
        assert rows[there][1:] == ["missing 1 of 1", "missing 1 of 2"]
        assert rows[there][0].endswith(" %")
    assert rows["l1-global-50"] == ["missing 1 of 1", "missing 1 of 1", "missing 2 of 2"]
    assert verify(VerifySpec(path=spec.out / "report")).exit_code == 0


FLAGS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "jobs": (["--jobs", "3"], {"jobs": 3}),
    "ray": (["--ray", "auto"], {"ray": "auto"}),
    "gpus": (
        ["--ray", "h:1", "--gpus-per-cell", "0.5"],
        {"ray": "h:1", "gpus_per_cell": 0.5},
    ),
    "cpus": (["--cpus-per-cell", "2"], {"cpus_per_cell": 2}),
    "retries": (["--retries", "0"], {"retries": 0}),
    "resume": (["--resume"], {"resume": True}),
    "skip": (["--skip-bad-images"], {"skip_bad_images": True}),
}


@pytest.mark.parametrize("name", FLAGS)
def test_flags_reach_the_sweep(plan: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    seen: list[SweepSpec] = []

    def listen(spec: SweepSpec, invoke: object, progress: Progress, read: PlanFile) -> Done:
        seen.append(spec)
        return Done(path=spec.out, fresh=True, summary={"failed": [], "skipped": 0})

    monkeypatch.setattr("dgprune.sweep.sweep.sweep", listen)
    given, changed = FLAGS[name]
    assert cli._exit_code(["sweep", str(plan), "--out", "x", *given]) == 0
    assert seen == [SweepSpec(plan=plan, out=Path("x"), **changed)]


def test_a_plan_may_come_through_a_pipe(plan: Path, tmp_path: Path) -> None:
    """As `dgprune sweep <(dgprune recipe sweep-digits)` gives it: it can be read once."""
    reading, writing = os.pipe()
    os.write(writing, plan.read_bytes())
    os.close(writing)
    try:
        assert (
            cli._exit_code(
                ["sweep", f"/dev/fd/{reading}", "--out", str(tmp_path / "out"), "--dry-run"]
            )
            == 0
        )
    finally:
        os.close(reading)


def test_what_failed_of_a_piped_plan_is_tried_again_from_the_folder(tmp_path: Path) -> None:
    spec = SweepSpec(plan=Path("/dev/fd/63"), out=tmp_path)
    (*_, last) = failure_lines(spec, {"failed": ["a: b"], "skipped": 0})
    assert f"dgprune sweep {tmp_path}/plan.toml --out {tmp_path} --resume" in last


def test_skipping_reaches_every_command_that_reads_images(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dgprune.sweep.cells import cells_of
    from dgprune.sweep.plan import read_plan
    from dgprune.sweep.work import Place, Task, attempt

    plan = write_plan(tmp_path / "plan.toml", data_folder, criteria=["l1"])
    cell = next(cell for cell in cells_of(read_plan(plan)) if cell.kind == "pruned")
    seen: list[list[str]] = []

    def listen(arguments: Any) -> Done:
        seen.append(list(arguments))
        if "--records" in arguments:
            Path(arguments[-1]).touch()
        return Done(path=tmp_path / "x", fresh=True)

    (tmp_path / "cells").mkdir()
    place = Place(store=str(tmp_path), data=str(data_folder), skip_bad_images=True)
    assert attempt(Task(cell=cell, dense="dense"), place, listen).error == ""
    assert [words[0] for words in seen] == ["prune", "finetune", "export", "evaluate"]
    assert all("--skip-bad-images" in words for words in seen)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--jobs", "2", "--ray", "auto"], "--jobs --ray one"),
        (["--gpus-per-cell", "0.5"], "--gpus-per-cell --ray"),
        (["--jobs", "0"], "--jobs must be"),
        (["--resume"], "--resume no sweep"),
    ],
)
def test_options_that_do_not_fit(
    plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], given: list[str], says: str
) -> None:
    out = tmp_path / "out"
    assert cli._exit_code(["sweep", str(plan), "--out", str(out), *given]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert [word for word in says.split() if word not in line] == []
    assert not out.exists()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("rankings =", "ranking =", "prune.0.ranking 'rankings'"),
        ('"taylor"', '"tailor"', "--criterion tailor"),
        ('"vit_micro_patch4_32"', '"vit_mikro_patch4_32"', "vit_mikro_patch4_32"),
        ("lr = 1e-3", "lr = -1", "--lr"),
    ],
)
def test_a_plan_is_checked_before_any_work(
    plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, says: str
) -> None:
    plan.write_text(plan.read_text().replace(old, new, 1))
    out = tmp_path / "out"
    assert cli._exit_code(["sweep", str(plan), "--out", str(out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert [word for word in (str(plan), *says.split()) if word not in line] == []
    assert not out.exists()


def test_a_dry_run_prints_one_object(
    plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert cli._exit_code(["sweep", str(plan), "--out", str(out), "--dry-run", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["cells"] == {"dense": 1, "pruned": 1}
    assert "pruned: 1 cells, 0 done" in captured.err
    assert not out.exists()
    assert cli._exit_code(["sweep", str(plan), "--out", str(out), "--dry-run", "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_recipe_prints_plans(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._exit_code(["recipe"]) == 0
    assert "sweep-digits" in capsys.readouterr().out.splitlines()
    assert cli._exit_code(["recipe", "sweep-digits"]) == 0
    assert 'targets = ["all"]' in capsys.readouterr().out
