"""`evaluate` and `bench` on real files: agreement with PyTorch, refusals, isolation."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmark.accuracy import EvaluateSpec, evaluate
from benchmark.latency import LatencySpec, bench, require_comparable
from benchmark.subject import open_subject
from dgprune.errors import DgpruneError
from dgprune.records import AccuracyRecord, LatencyRecord, read_records
from dgprune.statistics import round_log_ratios
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
        [e.record.correct_hex for e in read_records(tmp_path / name) if hasattr(e.record, "domain")]
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


def test_raw_samples_give_the_rounds_back(chain: TinyChain) -> None:
    for entry in read_records(chain.records):
        if isinstance(entry.record, LatencyRecord):
            record = entry.record
            rounds = {block.round for block in record.blocks}
            assert len(round_log_ratios(record.blocks)) == len(rounds)
            assert len(record.blocks) == 4 * len(rounds)
            assert record.inputs_sha256
            assert record.environment.libraries["onnxruntime"]


def test_a_child_that_fails_is_one_clear_line_and_no_record(
    chain: TinyChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "false")  # a process that dies without a word
    spec = LatencySpec(artefact=str(chain.pruned_artefact), data=chain.data, batch_sizes=(1,))
    with pytest.raises(DgpruneError, match=r"timing taylor-50, batch 1 failed \(exit 1\)"):
        bench(spec, tmp_path / "r.jsonl")
    assert {path.name for path in tmp_path.iterdir()} <= {"dgprune-store.txt"}


def test_the_timing_process_is_pinned_and_free_of_torch(chain: TinyChain, tmp_path: Path) -> None:
    np.save(tmp_path / "pixels.npy", np.zeros((16, 32, 32, 3), np.uint8))
    code = (
        "import sys, os, benchmark.worker as w; w.pin(1);"
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
