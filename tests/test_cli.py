"""The command line as a user meets it: help, exit codes, JSON, the chain and its interruption."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image

from benchmark import doctor
from dgprune import cli
from dgprune.chain import run_chain
from dgprune.environment import Device, current_environment
from dgprune.progress import SILENT
from dgprune.recipe import (
    full_grid,
    named_recipe,
    read_recipe,
)
from dgprune.recipe_parts import PlannedBudget
from dgprune.records import AccuracyRecord, read_records
from dgprune.shipped_recipes import plan_names, recipe_names, recipe_text
from dgprune.stage import Done
from tests.conftest import TinyChain, make_folder

COMMANDS = (
    *("finetune", "prune", "export", "evaluate", "bench", "profile", "report", "verify", "doctor"),
    *("quickstart", "run", "sweep", "recipe", "inspect", "data"),
)
TINY = """
model = "vit_micro_patch4_32"
weights = "random"
image_size = 32
data = "{data}"
target = "domain2"
seed = 0
[dense]
epochs = 1
lr = 1e-3
batch_size = 8
weight_decay = 0.05
warmup_epochs = 0.5
label_smoothing = 0.0
augmentation = "glyph"
[[prune]]
criteria = ["l1"]
ratios = [0.5]
ranking = "global"
score_images = 4
refit = false
[recover]
epochs = 1
lr = 1e-3
batch_size = 8
weight_decay = 0.05
warmup_epochs = 0.5
label_smoothing = 0.0
augmentation = "glyph"
[distill]
weight = 0.5
temperature = 3.0
[bench]
batch = [1]
tier = "smoke"
threads = 1
"""


@pytest.fixture
def recipe_file(data_folder: Path, tmp_path: Path) -> Path:
    file = tmp_path / "tiny.toml"
    file.write_text(TINY.format(data=data_folder))
    return file


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._exit_code([command, "--help"]) == 0
    page = capsys.readouterr().out
    assert "Usage" in page
    assert " ." not in page  # square brackets are markup to the printer: it drops them


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    cli._exit_code(["--help"])
    out = capsys.readouterr().out
    assert all(command in out for command in COMMANDS)


def leaves(group: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that is no group of others, with the words that name it."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, *path, name)
        else:
            yield (*path, name), command


def test_every_command_takes_json_and_quiet() -> None:
    """A program that drives `dgprune` gives both to all of them."""
    found = dict(leaves(typer.main.get_command(cli.app)))
    assert {path[0] for path in found} == set(COMMANDS)
    for path, command in found.items():
        flags = {flag for parameter in command.params for flag in parameter.opts}
        assert {"--json", "--quiet"} <= flags, " ".join(path)


def test_recipes_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._exit_code(["recipe", "--json", "--quiet"]) == 0
    names = json.loads(capsys.readouterr().out)
    assert names == {"recipes": recipe_names(), "plans": plan_names()}
    assert cli._exit_code(["recipe", "sweep-digits", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "name": "sweep-digits",
        "text": recipe_text("sweep-digits"),
    }


def test_json_is_one_object_on_stdout(
    chain: TinyChain, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "report"
    assert cli._exit_code(["report", str(chain.records), "--out", str(out), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["path"] == str(out / "report.html")
    assert printed["fresh"] is True


@pytest.mark.parametrize("part", ["pruned", "pruned_artefact"])
def test_inspect_shows_structure_cost_and_provenance(
    chain: TinyChain, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli._exit_code(["inspect", str(getattr(chain, part))]) == 0
    out = capsys.readouterr().out
    assert "heads x" in out
    assert "MACs" in out
    assert "criterion taylor" in out
    assert cli._exit_code(["inspect", str(getattr(chain, part)), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["label"] == "taylor-50"


def test_doctor_makes_runtimes_compute(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._exit_code(["doctor", "--json"]) == 0
    found = {f["name"]: f for f in json.loads(capsys.readouterr().out)["findings"]}
    assert found["onnxruntime (cpu)"]["works"]
    assert found["torch-pruning"]["works"]
    assert found["tensorrt"]["works"] or found["tensorrt"]["advice"]


def test_a_busy_machine_is_a_warning_and_nothing_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (64.0, 64.0, 64.0))
    doctor.print_findings(
        [doctor._machine(), doctor._try("gone", lambda: str(1 / 0), "get it")], as_json=False
    )
    busy, gone = capsys.readouterr().out.splitlines()
    assert busy.startswith("warning machine: ") and "other work is running" in busy
    assert gone == "missing gone: division by zero -> get it"


def test_doctor_tries_cuda_where_there_is_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    here = current_environment()
    assert (here.device is None) == (not doctor._on_a_device())
    device = Device(
        name="NVIDIA H1",
        driver="580",
        memory_bytes=1,
        power_limit_w=1.0,
        largest_clock_mhz=1,
        persistent=True,
    )
    monkeypatch.setattr(doctor, "current_environment", lambda: replace(here, device=device))
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    (found,) = doctor._on_a_device()
    assert (found.name, found.works) == ("onnxruntime (cuda)", False)
    assert "EXTRAS=gpu" in found.advice and "no CUDAExecutionProvider" in found.detail


def test_the_list_of_data_sets_takes_the_options_of_every_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli._exit_code(["data", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["known"]
    assert cli._exit_code(["data", "--json", "check", "x"]) == 2
    assert "--json and --quiet stand behind data check" in capsys.readouterr().err


@pytest.mark.parametrize("name", recipe_names())
def test_recipes_parse_and_write_out_every_key(name: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(recipe_text(name))
    assert read_recipe(tmp_path / "recipe.toml") == named_recipe(name)


def test_quickstart_covers_what_it_promises() -> None:
    cells = {(criterion, cut.value) for _, criterion, cut in named_recipe("quickstart").cells()}
    at_half = {(c, 0.5) for c in ("hessian", "taylor", "l1", "l2", "random")}
    assert cells == at_half | {(c, r) for c in ("hessian", "random") for r in (0.75, 0.95)}


def accuracies(store: Path) -> dict[str, str]:
    return {
        f"{e.record.subject.label} {e.record.domain}": e.record.correct_hex
        for e in read_records(store / "records.jsonl")
        if isinstance(e.record, AccuracyRecord)
    }


def test_an_interrupted_chain_goes_on_and_then_has_nothing_to_do(
    recipe_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, calls = read_recipe(recipe_file), 0

    def breaks_at_the_sixth(arguments: Sequence[str]) -> Any:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise KeyboardInterrupt
        return cli._step(arguments, quiet=True)

    with pytest.raises(KeyboardInterrupt):
        run_chain(recipe, tmp_path / "broken", breaks_at_the_sixth, SILENT)
    assert cli._exit_code(["run", str(recipe_file), "--out", str(tmp_path / "broken")]) == 0
    second = capsys.readouterr()
    assert second.err.count("already done") == 5
    assert cli._exit_code(["run", str(recipe_file), "--out", str(tmp_path / "broken")]) == 0
    third = capsys.readouterr()
    assert "nothing to do: all 10 steps were already done" in third.err
    assert third.out.strip() == str(tmp_path / "broken" / "report" / "report.html")
    assert (
        cli._exit_code(["run", str(recipe_file), "--out", str(tmp_path / "whole"), "--quiet"]) == 0
    )
    assert accuracies(tmp_path / "broken") == accuracies(tmp_path / "whole")


@pytest.mark.parametrize(
    ("delay_s", "sent"), [(0.5, signal.SIGINT), (4.0, signal.SIGINT), (4.0, signal.SIGTERM)]
)
def test_ctrl_c_and_a_scheduler_leave_nothing_half_written(
    tmp_path: Path, delay_s: float, sent: signal.Signals
) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "dgprune", "quickstart", "--out", str(out)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        # A background job of a shell inherits an ignored SIGINT; a terminal's child does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stderr is not None
    process.stderr.readline()  # the first step has begun
    time.sleep(delay_s)
    process.send_signal(sent)
    rest = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert rest.strip().splitlines()[-1].startswith("interrupted; the same command goes on")
    left = {path.name for path in out.iterdir()}
    assert not [name for name in left if name.endswith(".tmp")]
    assert not [name for name in left if name.startswith("finetuned")]


def test_a_recipe_may_ask_for_one_cell_in_two_ways(data_folder: Path, tmp_path: Path) -> None:
    text = TINY.format(data=data_folder)
    start = text.index("[[prune]]")
    entry = text[start : text.index("[recover]")]
    other = entry.replace("global", "isomorphic").replace("refit = false", "refit = true")
    (tmp_path / "two.toml").write_text(text.replace(entry, entry + other))
    cells = read_recipe(tmp_path / "two.toml").cells()
    assert [(part.ranking, part.refit) for part, _, _ in cells] == [
        ("global", False),
        ("isomorphic", True),
    ]


def test_other_images_under_the_same_names_are_other_work(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data")
    where = ["--data", str(folder), "--target", "domain2", "--out", str(tmp_path / "out")]
    command = ["finetune", "vit_micro_patch4_32", "--weights", "random", *where, "--epochs", "1"]
    first = cli._step(command, quiet=True)
    for number, path in enumerate(folder.rglob("*.png")):
        Image.new("RGB", (40, 40), (number, 0, 0)).save(path)
    second = cli._step(command, quiet=True)
    assert second.fresh
    assert second.path != first.path


def test_evaluating_into_the_default_folder_leaves_it_usable(
    chain: TinyChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    where = ["--data", chain.data, "--target", chain.target]
    assert cli._exit_code(["evaluate", str(chain.pruned_artefact), *where]) == 0
    assert cli._exit_code(["report", "runs/records.jsonl"]) == 0
    assert cli._exit_code(["export", str(chain.pruned), "--data", chain.data]) == 0


def test_the_chain_hands_skipping_on_to_every_step_that_reads_images(
    recipe_file: Path, tmp_path: Path
) -> None:
    seen: list[Sequence[str]] = []

    def record(arguments: Sequence[str]) -> Done:
        seen.append(arguments)
        return Done(path=tmp_path, fresh=True)

    recipe = read_recipe(recipe_file)
    run_chain(recipe, tmp_path / "out", record, SILENT, skip_bad_images=True)
    assert [("--skip-bad-images" in step) != (step[0] == "report") for step in seen] == [True] * 10


def test_the_chain_hands_the_protocol_on(recipe_file: Path, tmp_path: Path) -> None:
    seen: list[Sequence[str]] = []

    def record(arguments: Sequence[str]) -> Done:
        seen.append(arguments)
        return Done(path=tmp_path, fresh=True)

    text = recipe_file.read_text().replace('target = "domain2"', 'protocol = "paper-like"')
    recipe_file.write_text(text)
    run_chain(read_recipe(recipe_file), tmp_path / "out", record, SILENT)
    for step in seen:
        assert "--target" not in step
        takes = step[0] in ("finetune", "prune", "evaluate")
        assert ("--protocol" in step and "paper-like" in step) == takes


def test_the_full_grid_is_every_criterion_at_every_ratio() -> None:
    cells = {
        (criterion, cut) for _, criterion, cut in full_grid(named_recipe("quickstart")).cells()
    }
    assert cells == {
        (criterion, PlannedBudget("ratio", ratio))
        for criterion in ("hessian", "taylor", "l1", "l2", "random")
        for ratio in (0.5, 0.75, 0.95)
    }
