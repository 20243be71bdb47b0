"""Claims: what backs one, what does not, and `verify`, which finds one changed byte."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dgprune import cli
from dgprune.environment import Device
from dgprune.records import (
    AccuracyRecord,
    LatencyRecord,
    Record,
    append_records,
    read_records,
)
from dgprune.schema import canonical_json, file_sha256, seal
from dgprune.timing import Replica, TimedBlock, VoidRound
from reports.claim import claims, refusals
from reports.report import report
from reports.verify import VerifySpec, verify
from tests.conftest import TinyChain


def claimed(record: Record, factor: float = 2.0) -> Record:
    """A record as the tier `claim` leaves it: six processes of twelve rounds, without noise."""
    if not isinstance(record, LatencyRecord):
        return record
    speedup = 1.0 if record.is_control else factor
    durations = {"baseline": 4_000_000, "candidate": round(4_000_000 / speedup)}
    replicas = tuple(
        Replica(
            build=number,
            stationary=True,
            load_average=0.0,
            blocks=tuple(
                TimedBlock(arm=arm, round=index, durations_ns=(durations[arm] + number,) * 10)
                for index in range(12)
                for arm in ("baseline", "candidate", "candidate", "baseline")
            ),
        )
        for number in range(6)
    )
    spec = replace(record.spec, tier="claim", replicas=6, half_width=0.005)
    return replace(record, spec=spec, replicas=replicas)


def written(
    chain: TinyChain, out: Path, change: Callable[[Record], Record | None] = lambda r: r
) -> Path:
    for entry in read_records(chain.records):
        record = change(claimed(entry.record))
        if record is not None:
            append_records(out, entry.cell, [record])
    return out


def test_a_claim_says_speedup_interval_and_unseen_accuracy(
    chain: TinyChain, tmp_path: Path
) -> None:
    (claim,) = claims(read_records(written(chain, tmp_path / "r.jsonl")))
    assert claim.speedup.estimate == pytest.approx(2, rel=1e-5)
    assert claim.verdict == "faster" and claim.doubts == () and claim.processes == 6
    assert claim.noise_floor == pytest.approx(0, abs=1e-9)
    assert claim.baseline.median_latency_s == pytest.approx(0.004, rel=1e-3)
    target = {
        e.record.subject.sha256: (e.record.correct, e.record.images)
        for e in read_records(chain.records)
        if isinstance(e.record, AccuracyRecord) and e.record.role == "target"
    }
    for file in (claim.baseline, claim.candidate):
        assert (file.correct, file.images) == target[file.sha256]
    assert "2.00x as fast as dense" in claim.statement and "domain2" in claim.statement


def test_a_claim_on_a_gpu_names_the_gpu_and_its_package(chain: TinyChain, tmp_path: Path) -> None:
    def on_gpu(record: Record) -> Record:
        libraries = {**record.environment.libraries, "onnxruntime-gpu": "9.8"}
        del libraries["onnxruntime"]
        device = Device(
            name="GPU 1",
            driver="580",
            memory_bytes=1,
            power_limit_w=1,
            largest_clock_mhz=1,
            persistent=True,
        )
        environment = replace(record.environment, libraries=libraries, device=device)
        runtime = replace(record.runtime, provider="cuda")
        return replace(record, environment=environment, runtime=runtime)

    (claim,) = claims(read_records(written(chain, tmp_path / "r.jsonl", on_gpu)))
    assert (claim.runtime_version, claim.device) == ("9.8", "GPU 1")
    assert "on onnxruntime 9.8 (cuda, 1 thread, GPU 1)" in claim.statement


def without_control(record: Record) -> Record | None:
    return None if isinstance(record, LatencyRecord) and record.is_control else record


def without_accuracy(record: Record) -> Record | None:
    return None if isinstance(record, AccuracyRecord) and record.role == "target" else record


def on_pruned(change: Callable[[LatencyRecord], LatencyRecord]) -> Callable[[Record], Record]:
    def apply(record: Record) -> Record:
        if isinstance(record, LatencyRecord) and not record.is_control:
            return change(record)
        return record

    return apply


def untrained(record: LatencyRecord) -> LatencyRecord:
    subject = record.subject
    steps = tuple(step for step in subject.lineage if step.stage != "finetune")
    return replace(record, subject=replace(subject, lineage=steps))


def few_rounds(record: LatencyRecord) -> LatencyRecord:
    short = tuple(replace(r, blocks=r.blocks[:16]) for r in record.replicas)
    return replace(record, replicas=short)


def disturbed(record: LatencyRecord) -> LatencyRecord:
    void = tuple(VoidRound(round=i, reason="another process had the core") for i in range(3))
    return replace(record, replicas=tuple(replace(r, void=void) for r in record.replicas))


def fallen(record: Record) -> Record:
    if not isinstance(record, LatencyRecord):
        return record
    assert record.proof is not None
    return replace(record, proof=replace(record.proof, fallbacks=("asked fp16, but fp32 runs",)))


def elsewhere(record: Record) -> Record:
    """Accuracy that another runtime computed of the same bytes."""
    if not isinstance(record, AccuracyRecord):
        return record
    return replace(record, runtime=replace(record.runtime, name="openvino"))


def fallen_accuracy(record: Record) -> Record:
    if not isinstance(record, AccuracyRecord):
        return record
    assert record.proof is not None
    return replace(record, proof=replace(record.proof, fallbacks=("asked fp16, but fp32 runs",)))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (elsewhere, "the unseen accuracy of dense on onnxruntime (cpu) is missing"),
        (fallen_accuracy, "something else ran than was asked: asked fp16"),
        (without_control, "its A/A control is missing"),
        (without_accuracy, "the unseen accuracy of dense on onnxruntime (cpu) is missing"),
        (on_pruned(untrained), "taylor-50 has random weights"),
        (on_pruned(few_rounds), "too few rounds"),
        (on_pruned(disturbed), "inconclusive: unstable, no verdict: 18 rounds are void"),
        (fallen, "something else ran than was asked: asked fp16"),
        (lambda r: claimed(r, 1.01), "neither past 1 by the margin nor within it"),
    ],
)
def test_what_backs_no_claim_is_told_why(
    chain: TinyChain, tmp_path: Path, change: Callable[[Record], Record | None], reason: str
) -> None:
    records = written(chain, tmp_path / "r.jsonl", change)
    assert claims(read_records(records)) == []
    (told,) = refusals(read_records(records))
    assert reason in told
    report([records], tmp_path / "out")
    assert "No claim" in (tmp_path / "out" / "report.html").read_text()
    assert not list((tmp_path / "out").glob("claim-*.json"))


@pytest.fixture
def published(chain: TinyChain, tmp_path: Path) -> Path:
    return report([written(chain, tmp_path / "r.jsonl")], tmp_path / "out").path.parent


def test_a_report_and_its_claim_verify(chain: TinyChain, published: Path) -> None:
    (claim,) = published.glob("claim-*.json")
    assert cli._exit_code(["verify", str(published)]) == 0
    artefacts = ("--artefact", str(chain.pruned_artefact), "--artefact", str(chain.dense_artefact))
    assert cli._exit_code(["verify", str(claim), *artefacts]) == 0


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_one_changed_byte_of_a_claim_is_found(published: Path, place: float) -> None:
    (claim,) = published.glob("claim-*.json")
    data = bytearray(claim.read_bytes())
    index = int(place * len(data))
    data[index] = data[index] ^ 1
    claim.write_bytes(bytes(data))
    assert verify(VerifySpec(path=claim)).exit_code == 1
    assert verify(VerifySpec(path=published)).exit_code == 1


def test_a_claim_that_was_sealed_again_does_not_say_what_the_records_say(
    published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (claim,) = published.glob("claim-*.json")
    body = json.loads(claim.read_text())
    del body["id"]
    body["speedup"]["estimate"] = 3.5
    claim.write_text(canonical_json(seal(body)) + "\n")
    assert cli._exit_code(["verify", str(claim)]) == 1
    assert "speedup.estimate is 3.5, the records say 1.99" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["records.jsonl", "report.md", "report.html", "*.png"])
def test_one_changed_byte_of_a_report_is_found(published: Path, name: str) -> None:
    (file,) = published.glob(name)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))
    done = verify(VerifySpec(path=published))
    assert done.exit_code == 1 and "not_verified" in done.summary


def test_what_was_compared_by_digest_only_is_told(published: Path) -> None:
    """Another picture with its own digest is what the line warns of: it cannot be found."""
    (picture,) = published.glob("*.png")
    picture.write_bytes(b"another picture")
    marker = published / "report.json"
    manifest = json.loads(marker.read_text())
    manifest["files"][picture.name] = file_sha256(picture)
    marker.write_text(json.dumps(manifest))
    made = len(manifest["files"]) - 1
    told, *_ = verify(VerifySpec(path=published)).summary["verified"]
    assert told == (
        f"{made} files, made again from the records; pictures by the digest in report.json only: "
        "1 (the data of their charts is in report.html, which was made again)"
    )


def test_another_files_bytes_are_found(chain: TinyChain, published: Path, tmp_path: Path) -> None:
    (path,) = published.glob("claim-*.json")
    claim = json.loads(path.read_text())
    del claim["id"]
    claim["candidate"]["sha256"] = claim["baseline"]["sha256"]
    path.write_text(canonical_json(seal(claim)) + "\n")
    done = verify(VerifySpec(path=path, artefacts=(chain.pruned_artefact,)))
    assert done.exit_code == 1


def test_what_is_neither_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._exit_code(["verify", str(tmp_path)]) == 2
    assert "neither a report's folder nor a claim's file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "reports" / "published").rglob("claim-*.json"))
)
def test_published_claims_still_follow_from_their_records(path: Path) -> None:
    assert "verified" in verify(VerifySpec(path=path)).summary
