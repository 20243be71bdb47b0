"""Processes that time: those that die, run out of memory, or have a clock that goes back."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark import cells, latency
from benchmark.cells import LatencySpec
from benchmark.child import in_child
from benchmark.job import ArmJob, Job, serve
from benchmark.latency import bench
from benchmark.tiers import TIERS
from dgprune.records import LatencyRecord, RuntimeSpec, read_records
from dgprune.runtimes import failed
from dgprune.schema import encode
from tests.conftest import TinyChain


def test_a_process_that_dies_is_a_recorded_result_and_the_others_go_on(
    chain: TinyChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = 0

    def dying(module: str, job: Job, pixels: Any, kind: type[Any], name: str) -> Any:
        nonlocal started
        started += 1
        if started == 1:
            monkeypatch.setattr(sys, "executable", "false")  # dies without a word
        try:
            return in_child(module, job, pixels, kind, name)
        finally:
            monkeypatch.undo()
            monkeypatch.setattr(latency, "in_child", dying)

    monkeypatch.setattr(latency, "in_child", dying)
    brief = replace(TIERS["smoke"], replicas=2, rounds=(12, 12))
    monkeypatch.setitem(TIERS, "smoke", brief)
    file = tmp_path / "r.jsonl"
    spec = LatencySpec(
        artefact=str(chain.pruned_artefact), data=chain.data, batch_sizes=(1,), tier="smoke"
    )
    assert bench(spec, file).exit_code == 0
    (record,) = (entry.record for entry in read_records(file))
    assert isinstance(record, LatencyRecord)
    assert len(record.replicas) == 2
    assert record.failures == ("process 1 of taylor-50, batch 1: failed (exit 1): no message",)


def test_a_cell_of_which_every_process_dies_is_recorded_and_measured_again(
    chain: TinyChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "r.jsonl"
    spec = LatencySpec(
        artefact=str(chain.pruned_artefact), data=chain.data, batch_sizes=(1,), tier="smoke"
    )
    with monkeypatch.context() as broken:
        broken.setattr(sys, "executable", "false")
        done = bench(spec, file)
    assert done.exit_code == 3
    assert "not measured: process 1 of taylor-50" in done.summary["cells"][0]["text"]
    assert bench(spec, file).exit_code == 0
    found = [e.record for e in read_records(file) if isinstance(e.record, LatencyRecord)]
    assert [bool(record.replicas) for record in found] == [False, True]


@pytest.mark.parametrize(
    "error", ["std::bad_alloc", "Failed to allocate memory for", "CUDA out of memory"]
)
def test_too_little_memory_is_a_result_and_no_reason_to_stop(
    error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chain: TinyChain
) -> None:
    spec = RuntimeSpec(name="onnxruntime", provider="cpu", threads=1)
    job = Job(
        arms={"candidate": ArmJob(folder=str(chain.pruned_artefact), runtime=spec)},
        spec=TIERS["smoke"],
        batch_size=1,
        batches=1,
    )
    (tmp_path / "job.json").write_text(json.dumps(encode(job)))
    np.save(tmp_path / "pixels.npy", np.zeros((1, 32, 32, 3), dtype=np.uint8))
    names = ("job.json", "pixels.npy", "result.json")
    monkeypatch.setattr(sys, "argv", ["x", *(str(tmp_path / name) for name in names)])
    monkeypatch.setattr("benchmark.job.end_with_parent", lambda: None)
    monkeypatch.setattr("benchmark.job.pin", lambda threads: None)
    told = {error: 1, "Non-zero status code returned": 2}  # 2 is a refusal, which ends the command
    for text, code in told.items():

        def fail(job: Job, pixels: object, text: str = text) -> None:
            raise failed("ONNX Runtime failed to run model.onnx", text)

        with pytest.raises(SystemExit) as end:
            serve(fail)
        assert end.value.code == code


def test_the_timing_process_is_pinned_and_free_of_torch(chain: TinyChain, tmp_path: Path) -> None:
    code = (
        "import sys, os, benchmark.worker, benchmark.job as j; j.pin(1);"
        "print(len(os.sched_getaffinity(0)), 'torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["1", "False"]


def test_a_clock_that_goes_back_is_one_line(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np; from benchmark.job import serve\n"
        "from benchmark.harness import ClockWentBackError\n"
        "def measure(job, pixels): raise ClockWentBackError('the clock went back')\n"
        "serve(measure)"
    )
    runtime = RuntimeSpec(name="onnxruntime", provider="cpu", threads=1)
    arms = {"candidate": ArmJob(folder="x", runtime=runtime)}
    job = Job(arms=arms, spec=TIERS["smoke"], batch_size=1, batches=8)  # type: ignore[arg-type]
    (tmp_path / "job.json").write_text(json.dumps(encode(job)))
    np.save(tmp_path / "pixels.npy", np.zeros((8, 2, 2, 3), np.uint8))
    files = [str(tmp_path / name) for name in ("job.json", "pixels.npy", "result.json")]
    out = subprocess.run([sys.executable, "-c", code, *files], capture_output=True, text=True)
    assert out.returncode == 2
    assert out.stderr.strip().splitlines()[-1].startswith("the clock went back: fix the machine")


def test_arms_take_turns_in_being_loaded_first(chain: TinyChain) -> None:
    spec = LatencySpec(
        artefact=str(chain.pruned_artefact), baseline=str(chain.dense_artefact), data=chain.data
    )
    cell = cells.cells_of(spec)[0]
    first = [next(iter(cell.job(number).arms)) for number in range(4)]
    assert first == ["baseline", "candidate"] * 2
    assert TIERS["default"].replicas % 2 == TIERS["claim"].replicas % 2 == 0
    seeds = {cell.job(number).spec.seed for number in range(4)}
    assert len(seeds) == 4
