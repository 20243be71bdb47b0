"""`evaluate` and `bench` on real files: agreement with PyTorch, refusals, isolation."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark import cells, claimable, cold, latency
from benchmark.accuracy import EvaluateSpec, evaluate
from benchmark.cells import LatencySpec, batch_sizes
from benchmark.child import in_child
from benchmark.comparable import require_comparable
from benchmark.job import ArmJob, Job
from benchmark.latency import bench
from benchmark.subject import open_subject
from benchmark.tiers import TIERS
from dgprune.errors import DgpruneError
from dgprune.records import AccuracyRecord, LatencyRecord, RuntimeSpec, read_records
from dgprune.runtimes import onnxruntime as onnxruntime_runtime
from dgprune.schema import encode
from dgprune.statistics import Verdict, round_log_ratios
from export.export_checkpoint import export
from export.spec import ExportSpec
from tests.conftest import TinyChain


def evaluate_spec(chain: TinyChain, subject: Path) -> EvaluateSpec:
    return EvaluateSpec(subject=str(subject), data=chain.data, target=chain.target)


def test_artefact_and_checkpoint_predict_the_same(chain: TinyChain, tmp_path: Path) -> None:
    found = []
    for number, subject in enumerate((chain.pruned, chain.pruned_artefact)):
        file = tmp_path / f"{number}.jsonl"
        evaluate(evaluate_spec(chain, subject), file)
        records = [e.record for e in read_records(file) if isinstance(e.record, AccuracyRecord)]
        found.append([(r.domain, r.confusion, r.correct_hex) for r in records])
        assert {r.runtime.name for r in records} == {("torch", "onnxruntime")[number]}
    assert found[0] == found[1]


def test_the_target_is_measured_whole_and_sources_on_their_fifth(chain: TinyChain) -> None:
    images = {
        (e.record.domain, e.record.role): e.record.images
        for e in read_records(chain.records)
        if isinstance(e.record, AccuracyRecord)
    }
    assert images == {
        ("domain0", "source-val"): 2,
        ("domain1", "source-val"): 2,
        ("domain2", "target"): 10,
    }


def test_evaluating_twice_appends_once(chain: TinyChain, tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    assert evaluate(evaluate_spec(chain, chain.pruned_artefact), file).fresh
    text = file.read_text()
    assert not evaluate(evaluate_spec(chain, chain.pruned_artefact), file).fresh
    assert file.read_text() == text


def test_a_fixed_batch_is_padded_not_shortened(chain: TinyChain, tmp_path: Path) -> None:
    spec = ExportSpec(checkpoint=str(chain.pruned), data=chain.data, batch="4")
    fixed = export(spec, tmp_path / "out").path
    for name, subject in (("fixed", fixed), ("dynamic", chain.pruned_artefact)):
        evaluate(evaluate_spec(chain, subject), tmp_path / name)
    bits = [
        [
            entry.record.correct_hex
            for entry in read_records(tmp_path / name)
            if isinstance(entry.record, AccuracyRecord)
        ]
        for name in ("fixed", "dynamic")
    ]
    assert bits[0] == bits[1]


def test_a_domain_that_the_model_has_seen_is_not_unseen(chain: TinyChain, tmp_path: Path) -> None:
    spec = replace(evaluate_spec(chain, chain.pruned_artefact), target="domain0")
    with pytest.raises(DgpruneError, match="made with 'domain2' held out, so 'domain0' is not"):
        evaluate(spec, tmp_path / "r.jsonl")
    assert not (tmp_path / "r.jsonl").exists()


def test_changed_bytes_are_refused(chain: TinyChain, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(chain.pruned_artefact, copy)
    with (copy / "model.fp32.onnx").open("r+b") as file:
        file.seek(2000)
        file.write(b"\x00\x01\x02")
    with pytest.raises(DgpruneError, match="SHA-256 differs"):
        open_subject(copy)


@pytest.mark.parametrize(
    ("part", "change"), [("precision", "fp16"), ("format", "openvino"), ("batch", "4")]
)
def test_arms_that_differ_in_more_than_the_network_are_refused(
    chain: TinyChain, part: str, change: str
) -> None:
    candidate, baseline = open_subject(chain.pruned_artefact), open_subject(chain.dense_artefact)
    require_comparable(candidate, baseline)
    if part == "batch":
        other = replace(candidate, form=replace(candidate.form, batch=int(change)))
    else:
        other = replace(candidate, subject=replace(candidate.subject, **{part: change}))  # type: ignore[arg-type]
    with pytest.raises(DgpruneError, match=f"arms differ in {part}"):
        require_comparable(other, baseline)


@pytest.mark.parametrize(
    ("key", "value", "part"),
    [
        ("calibration_images", 4, "calibration"),
        ("calibrate_on", ["domain0"], "calibration"),
        ("largest_batch", 1, "largest batch"),
    ],
)
def test_arms_that_were_exported_another_way_are_refused(
    chain: TinyChain, key: str, value: object, part: str
) -> None:
    candidate, baseline = open_subject(chain.pruned_artefact), open_subject(chain.dense_artefact)
    *before, last = candidate.subject.lineage
    changed = replace(last, spec={**last.spec, key: value})
    other = replace(candidate, subject=replace(candidate.subject, lineage=(*before, changed)))
    with pytest.raises(DgpruneError, match=f"arms differ in {part}"):
        require_comparable(other, baseline)


def test_a_baseline_of_another_fixed_batch_is_refused(chain: TinyChain, tmp_path: Path) -> None:
    spec = ExportSpec(checkpoint=str(chain.dense), data=chain.data, batch="4")
    fixed = export(spec, tmp_path / "s").path
    asked = LatencySpec(
        artefact=str(chain.dense_artefact),
        baseline=str(fixed),
        data=chain.data,
        varies="runtime",
        runtime="openvino",
        baseline_runtime="onnxruntime",
        batch_sizes=(1,),
    )
    with pytest.raises(DgpruneError, match="exported for batch 4, not 1"):
        cells.cells_of(asked)


def test_raw_samples_give_the_rounds_back(chain: TinyChain) -> None:
    for entry in read_records(chain.records):
        if isinstance(entry.record, LatencyRecord):
            record = entry.record
            rounds = {block.round for block in record.blocks}
            assert len(round_log_ratios(record.blocks)) == len(rounds)
            assert len(record.blocks) == 4 * len(rounds)
            assert record.inputs_sha256
            assert record.environment.libraries["onnxruntime"]


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
    assert "not measured: process 1 of taylor-50" in done.summary["cells"][0]
    assert bench(spec, file).exit_code == 0
    found = [e.record for e in read_records(file) if isinstance(e.record, LatencyRecord)]
    assert [bool(record.replicas) for record in found] == [False, True]


def test_a_verdict_of_slower_is_the_exit_code_whatever_else_is_inconclusive(
    chain: TinyChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipeline that tolerates 3 must not let a regression through."""
    told = {1: Verdict.FASTER, 2: Verdict.SLOWER, 4: Verdict.INCONCLUSIVE}
    monkeypatch.setattr(latency, "judge", lambda record, _: told[record.batch_size])
    file = tmp_path / "r.jsonl"
    spec = LatencySpec(
        artefact=str(chain.pruned_artefact),
        baseline=str(chain.dense_artefact),
        data=chain.data,
        batch_sizes=(1, 2, 4),
        tier="smoke",
        cold_start=False,
    )
    assert bench(spec, file).exit_code == 1
    assert bench(replace(spec, batch_sizes=(1, 4)), file).exit_code == 3
    assert bench(replace(spec, batch_sizes=(1,)), file).exit_code == 0


def test_a_cold_start_may_be_left_out(chain: TinyChain, tmp_path: Path) -> None:
    spec = LatencySpec(
        artefact=str(chain.pruned_artefact),
        data=chain.data,
        batch_sizes=(1,),
        tier="smoke",
        cold_start=False,
    )
    (entry,) = read_records(bench(spec, tmp_path / "r.jsonl").path)
    assert isinstance(entry.record, LatencyRecord)
    assert entry.record.replicas and not entry.record.cold and not entry.record.failures


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_cold_start_times_neither_imports_nor_the_check_of_the_file(
    chain: TinyChain, runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []

    def clock() -> int:
        happened.append("clock")
        return len(happened)

    def checked(file: Path) -> None:
        happened.append("check")

    monkeypatch.setattr(onnxruntime_runtime, "require_own_data", checked)
    monkeypatch.setattr("benchmark.cold.time.perf_counter_ns", clock)
    spec = RuntimeSpec(name=runtime, provider="cpu", threads=1)
    job = Job(
        arms={"candidate": ArmJob(folder=str(chain.pruned_artefact), runtime=spec)},
        spec=TIERS["smoke"],
        batch_size=1,
        batches=1,
    )
    cold.run(job, np.zeros((1, 32, 32, 3), dtype=np.uint8))
    assert happened == ["check", *["clock"] * 4]


def test_a_cold_start_is_measured_of_each_arm(chain: TinyChain) -> None:
    for entry in read_records(chain.records):
        if isinstance(entry.record, LatencyRecord):
            cold = entry.record.cold
            assert set(cold) == {"baseline", "candidate"}
            assert all(c.load_ns > 0 and c.first_call_ns > 0 for c in cold.values())
            assert all(c.host_bytes > 0 and c.device_bytes is None for c in cold.values())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"varies": "runtime"}, "--vary runtime needs --baseline"),
        ({"varies": "threads"}, "--vary 'threads' must be one of network, precision, runtime"),
        ({"baseline_runtime": "torch"}, "are for --vary runtime; remove them"),
    ],
)
def test_options_of_varying_that_do_nothing_are_refused(
    change: dict[str, str], reason: str
) -> None:
    with pytest.raises(DgpruneError, match=reason):
        LatencySpec(artefact="a", data="b", **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("varies", ["precision", "runtime"])
def test_a_gain_of_runtime_or_precision_needs_the_same_network(
    chain: TinyChain, varies: str
) -> None:
    candidate, baseline = open_subject(chain.pruned_artefact), open_subject(chain.dense_artefact)
    with pytest.raises(DgpruneError, match="arms differ in network"):
        require_comparable(candidate, baseline, varies)  # type: ignore[arg-type]
    require_comparable(candidate, candidate, varies)  # type: ignore[arg-type]


def test_the_control_is_measured_once_for_a_baseline(chain: TinyChain, tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    spec = LatencySpec(
        artefact=str(chain.pruned_artefact),
        baseline=str(chain.dense_artefact),
        data=chain.data,
        batch_sizes=(1,),
        tier="smoke",
    )
    bench(spec, file)
    bench(replace(spec, artefact=str(chain.dense_artefact)), file)
    spec = replace(spec, artefact=str(chain.dense_artefact), varies="runtime")
    bench(replace(spec, baseline_runtime="openvino"), file)
    found = [e.record for e in read_records(file) if isinstance(e.record, LatencyRecord)]
    controls = [(r.is_control, r.runtime.name) for r in found]
    assert controls == [
        (True, "onnxruntime"),
        (False, "onnxruntime"),
        (True, "openvino"),
        (False, "onnxruntime"),
    ]
    assert found[3].varies == "runtime"
    assert found[3].runtime.name == "onnxruntime"
    assert found[3].baseline_runtime is not None
    assert found[3].baseline_runtime.name == "openvino"


def test_the_timing_process_is_pinned_and_free_of_torch(chain: TinyChain, tmp_path: Path) -> None:
    code = (
        "import sys, os, benchmark.worker, benchmark.job as j; j.pin(1);"
        "print(len(os.sched_getaffinity(0)), 'torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["1", "False"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"batch_sizes": ()}, "--batch"),
        ({"batch_sizes": (0,)}, "--batch"),
        ({"threads": 0}, "--threads 0"),
        ({"threads": 10_000}, "--threads 10000"),
    ],
)
def test_impossible_settings_are_refused(change: dict[str, int], reason: str) -> None:
    with pytest.raises(DgpruneError, match=reason):
        LatencySpec(artefact="a", data="b", **change)  # type: ignore[arg-type]


def test_environment_names_no_person_and_no_place(chain: TinyChain) -> None:
    entry = read_records(chain.records)[0]
    text = json.dumps(entry.record.environment.libraries) + entry.record.environment.system
    assert os.uname().nodename not in text
    assert str(Path.home()) not in chain.records.read_text()


@pytest.mark.parametrize("varies", ["precision", "runtime"])
def test_arms_that_do_not_vary_are_refused(chain: TinyChain, varies: str) -> None:
    file = str(chain.dense_artefact)
    spec = LatencySpec(artefact=file, baseline=file, data=chain.data, varies=varies)  # type: ignore[arg-type]
    with pytest.raises(DgpruneError, match=f"both arms have the same {varies}; name another"):
        cells.cells_of(spec)


def test_a_sweep_is_every_power_of_two_up_to_128() -> None:
    assert batch_sizes("sweep") == (1, 2, 4, 8, 16, 32, 64, 128)
    with pytest.raises(DgpruneError, match="neither sweep nor numbers"):
        batch_sizes("all")


def test_two_packages_of_onnx_runtime_are_refused(
    chain: TinyChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = {"onnxruntime": "1.32.0", "onnxruntime-gpu": "1.32.0"}
    monkeypatch.setattr(cells, "installed_libraries", lambda: both)
    spec = LatencySpec(artefact=str(chain.pruned_artefact), data=chain.data)
    with pytest.raises(DgpruneError, match="overwrite each other; uninstall both"):
        bench(spec, tmp_path / "r.jsonl")


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"baseline": None}, "is for a speedup; name the dense file"),
        ({}, "needs the accuracy of .* in the same --records; run dgprune evaluate"),
    ],
)
def test_a_claim_asks_for_its_evidence_first(
    chain: TinyChain, tmp_path: Path, spec: dict[str, Any], reason: str
) -> None:
    asked = LatencySpec(
        artefact=str(chain.pruned_artefact),
        baseline=str(chain.dense_artefact),
        data=chain.data,
        tier="claim",
    )
    with pytest.raises(DgpruneError, match=reason):
        bench(replace(asked, **spec), tmp_path / "r.jsonl")


def test_random_weights_and_a_busy_machine_back_no_claim(
    chain: TinyChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = LatencySpec(
        artefact=str(chain.pruned_artefact),
        baseline=str(chain.dense_artefact),
        data=chain.data,
        tier="claim",
    )
    file = tmp_path / "r.jsonl"
    shutil.copy(chain.records, file)
    monkeypatch.setattr(claimable, "busy_cores", lambda stat, look_s: 0.7)
    with pytest.raises(DgpruneError, match="other processes keep 0.7 cores busy; stop them"):
        bench(spec, file)
    monkeypatch.setattr("dgprune.judgement.spec_of", lambda lineage, stage: None)
    with pytest.raises(DgpruneError, match="has random weights: .* backs no claim"):
        bench(spec, file)


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
