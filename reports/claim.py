"""Claims: what a record of tier `claim` lets one say, with every number behind it."""

from collections.abc import Sequence
from dataclasses import dataclass

from dgprune.judgement import (
    control_of,
    doubts,
    interval_of,
    judge,
    noise_floor,
    of_held_out,
    unfit,
)
from dgprune.records import (
    AccuracyRecord,
    Entry,
    LatencyRecord,
    ProfileRecord,
    Record,
    RuntimeSpec,
    Subject,
)
from dgprune.schema import Json, canonical_json, encode, seal
from dgprune.statistics import Interval, Verdict, median_latency_s
from dgprune.structure import cost_of
from reports.machine import runtime_text, version_of

SCHEMA = 2  # 1 had no device


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedFile:
    """One arm: what it is, its cost, and its accuracy on what was held out.

    `accuracy_record` is the id of the record behind it, or ids joined by + of one a domain.
    """

    label: str
    sha256: str
    size_bytes: int
    macs_per_image: int
    median_latency_s: float
    correct: int
    images: int
    accuracy_record: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A speedup with its interval, on one runtime at one batch size, and what accuracy it costs.

    `record` and `control` are the ids of the latency records, as `accuracy_record` is of theirs.
    `device` is the accelerator that computed, "" where the CPU did.
    `target` is "" under the protocol paper-like, whose accuracies are of in-domain test images.
    """

    statement: str
    verdict: str
    speedup: Interval
    noise_floor: float
    batch_size: int
    runtime: RuntimeSpec
    runtime_version: str
    cpu: str
    device: str
    target: str
    baseline: ClaimedFile
    candidate: ClaimedFile
    processes: int
    doubts: tuple[str, ...]
    record: str
    control: str


def claims(entries: Sequence[Entry]) -> list[Claim]:
    """A claim for every record of tier `claim` that can back one."""
    found = [claim_of(entry, entries) for entry in entries if is_of_tier_claim(entry)]
    return [claim for claim in found if isinstance(claim, Claim)]


def refusals(entries: Sequence[Entry]) -> list[str]:
    """Why a record of tier `claim` backs none, a line each."""
    found = [claim_of(entry, entries) for entry in entries if is_of_tier_claim(entry)]
    return [text for text in found if isinstance(text, str)]


def is_of_tier_claim(entry: Entry) -> bool:
    """Whether an entry is a speedup of pruning that was measured for a claim."""
    record = entry.record
    if not isinstance(record, LatencyRecord) or record.is_control:
        return False
    return record.spec.tier == "claim" and record.varies == "network"


def claim_of(entry: Entry, entries: Sequence[Entry]) -> Claim | str:
    """The claim that a latency entry backs, or why it backs none."""
    record = entry.record
    assert isinstance(record, LatencyRecord)
    latency = [e for e in entries if isinstance(e.record, LatencyRecord)]
    control = control_of(record, [e.record for e in latency if isinstance(e.record, LatencyRecord)])
    control_id = next((e.id for e in latency if e.record is control), "")
    interval = interval_of(record)
    reason = _refusal(record, control)
    if reason is not None or interval is None or control is None or record.baseline is None:
        return f"{record.subject.label}, batch {record.batch_size}: {reason}"
    files = []
    domains = set()
    for subject, arm in ((record.baseline, "baseline"), (record.subject, "candidate")):
        found = of_held_out(subject.sha256, record.runtime, entries)
        if not found:
            kind = "unseen" if subject.origin.target else "test"
            return (
                f"{record.subject.label}: the {kind} accuracy of {subject.label} on "
                f"{record.runtime.name} ({record.runtime.provider}) is missing"
            )
        fallen = _fallen([entry.record for entry in found.values()])
        if fallen is not None:
            return f"{record.subject.label}: {fallen} (accuracy of {subject.label})"
        domains.add(frozenset(found))
        files.append(_file(subject, median_latency_s(record, arm), list(found.values())))  # type: ignore[arg-type]
    if len(domains) > 1:
        return f"{record.subject.label}: the arms were not measured on the same domains"
    floor = noise_floor(control)
    assert floor is not None
    return Claim(
        statement=_statement(record, interval, files),
        verdict=judge(record, control).value,
        speedup=interval,
        noise_floor=floor,
        batch_size=record.batch_size,
        runtime=record.runtime,
        runtime_version=version_of(record),
        cpu=record.environment.cpu,
        device=_device(record),
        target=record.subject.origin.target,
        baseline=files[0],
        candidate=files[1],
        processes=len(record.replicas),
        doubts=tuple(doubts(record, control)),
        record=entry.id,
        control=control_id,
    )


def _refusal(record: LatencyRecord, control: LatencyRecord | None) -> str | None:
    """Why a latency record backs no claim; None where it may."""
    if record.baseline is None:
        return "it has no baseline"
    for subject in (record.subject, record.baseline):
        reason = unfit(subject)
        if reason is not None:
            return f"{subject.label} {reason}"
    if record.subject.origin.split_digest != record.baseline.origin.split_digest:
        return "the arms were made under different splits"
    rounds = [len({block.round for block in r.counted}) for r in record.replicas]
    least, each = record.spec.replicas, record.spec.rounds[0]
    if len(rounds) < least or min(rounds) < each:
        return f"too few rounds ({rounds}); {least} processes of {each} are needed"
    if control is None:
        return "its A/A control is missing"
    if judge(record, control) is Verdict.INCONCLUSIVE:
        unclear = "the interval is neither past 1 by the margin nor within it"
        return f"inconclusive: {'; '.join(doubts(record, control)) or unclear}"
    return _fallen([record])


def _fallen(records: Sequence[Record]) -> str | None:
    """What ran otherwise than asked, as the user allowed; None where nothing did."""
    proofs = [record.proof for record in records if not isinstance(record, ProfileRecord)]
    proofs += [record.baseline_proof for record in records if isinstance(record, LatencyRecord)]
    fallen = [text for proof in proofs if proof for text in proof.fallbacks]
    return f"something else ran than was asked: {fallen[0]}" if fallen else None


def _device(record: LatencyRecord) -> str:
    device = record.environment.device
    return device.name if device is not None and record.runtime.provider != "cpu" else ""


def _file(subject: Subject, latency_s: float, held_out: Sequence[Entry]) -> ClaimedFile:
    measured = [e.record for e in held_out if isinstance(e.record, AccuracyRecord)]
    return ClaimedFile(
        label=subject.label,
        sha256=subject.sha256,
        size_bytes=subject.size_bytes,
        macs_per_image=cost_of(subject.structure).macs_per_image,
        median_latency_s=latency_s,
        correct=sum(record.correct for record in measured),
        images=sum(record.images for record in measured),
        accuracy_record="+".join(entry.id for entry in held_out),
    )


def _statement(record: LatencyRecord, interval: Interval, files: Sequence[ClaimedFile]) -> str:
    dense, pruned = (100 * file.correct / file.images for file in files)
    hardware = _device(record) or record.environment.cpu
    return (
        f"{record.subject.label} runs {interval.estimate:.2f}x as fast as {files[0].label} on "
        f"{runtime_text(record, hardware)}, "
        f"batch {record.batch_size}, 95 % interval {interval.low:.2f} to {interval.high:.2f}, "
        f"and reaches {pruned:.1f} % on {_held_out(record.subject)}, "
        f"dense {dense:.1f} %."
    )


def _held_out(subject: Subject) -> str:
    if subject.origin.target:
        return f"the unseen domain {subject.origin.target}"
    return f"in-domain test images ({subject.origin.protocol} split)"


def sealed(claim: Claim) -> Json:
    """The claim as it is written: with a schema, a kind, and an id that an edit breaks."""
    return seal({"schema": SCHEMA, "kind": "claim", **encode(claim)})


def file_name(claim: Claim) -> str:
    """The name of a claim's file."""
    return f"claim-{claim.record}.json"


def text_of(claim: Claim) -> str:
    """The bytes of a claim's file."""
    return canonical_json(sealed(claim)) + "\n"
