"""`evaluate` and `bench` on real files: agreement with PyTorch, refusals, isolation."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark import cells, claimable, latency
from benchmark.accuracy import EvaluateSpec, evaluate
from benchmark.cells import LatencySpec
from benchmark.latency import bench
from benchmark.subject import open_subject
from dgprune.errors import DgpruneError
from dgprune.records import AccuracyRecord, LatencyRecord, read_records
from dgprune.statistics import Verdict, round_log_ratios
from export.export_checkpoint import export
from export.spec import ExportSpec
from tests.conftest import TinyChain
from tests.dgprune.sweep.test_sweep import Heard


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


def test_raw_samples_give_the_rounds_back(chain: TinyChain) -> None:
    for entry in read_records(chain.records):
        if isinstance(entry.record, LatencyRecord):
            record = entry.record
            rounds = {block.round for block in record.blocks}
            assert len(round_log_ratios(record.blocks)) == len(rounds)
            assert len(record.blocks) == 4 * len(rounds)
            assert record.inputs_sha256
            assert record.environment.libraries["onnxruntime"]


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


def test_what_was_measured_before_is_told_again(chain: TinyChain) -> None:
    heard = Heard()
    spec = LatencySpec(
        artefact=str(chain.pruned_artefact),
        baseline=str(chain.dense_artefact),
        data=chain.data,
        batch_sizes=(1,),
        tier="smoke",
    )
    done = bench(spec, chain.records, heard)
    assert not done.fresh
    (told,) = done.summary["cells"]
    assert heard.lines[1:] == [told["text"]]
    assert f"{told['speedup']['estimate']:.2f}x as fast as dense" in told["text"]
    assert f"({told['verdict']}" in told["text"]
    assert f": {told['median_s'] * 1e3:.3f} ms" in told["text"]
    evaluate(evaluate_spec(chain, chain.pruned_artefact), chain.records, heard)
    assert heard.lines[3].startswith("taylor-50 on domain0 (source-val): ")


@pytest.mark.parametrize(("images", "size"), [(64, 64), (100, 100), (40, 16), (7, 3), (3, 8)])
def test_eight_batches_of_few_images_differ(images: int, size: int) -> None:
    pixels = np.arange(images, dtype=np.uint8).reshape(images, 1, 1, 1)
    batches = latency.batches_of(pixels, size).reshape(cells.BATCHES, size)
    assert len({tuple(batch) for batch in batches.tolist()}) == min(cells.BATCHES, images)
    assert set(batches.ravel().tolist()) == set(range(images))


@pytest.mark.parametrize("size", [1, 2, 5])
def test_of_enough_images_the_first_are_taken_in_turn(size: int) -> None:
    pixels = np.arange(40, dtype=np.uint8).reshape(40, 1, 1, 1)
    assert latency.batches_of(pixels, size).ravel().tolist() == list(range(8 * size))


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


def test_environment_names_no_person_and_no_place(chain: TinyChain) -> None:
    entry = read_records(chain.records)[0]
    text = json.dumps(entry.record.environment.libraries) + entry.record.environment.system
    assert os.uname().nodename not in text
    assert str(Path.home()) not in chain.records.read_text()


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
