"""The stage `evaluate`: accuracy of one file on every domain, of validation and held-out images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmark.subject import OpenSubject, open_subject, proven
from dgprune.data import DataSet, Purpose, Sample, Split, load_images, open_data
from dgprune.data.images import Images, Loading
from dgprune.data.leaks import without_leaks
from dgprune.data.preprocessing import Floats
from dgprune.data.split import Role
from dgprune.environment import current_environment, threads_here
from dgprune.errors import DgpruneError
from dgprune.predictions import images_sha256, pack
from dgprune.progress import SILENT, Progress
from dgprune.proof import Proof
from dgprune.records import (
    AccuracyRecord,
    Entry,
    Record,
    RuntimeSpec,
    append_records,
    open_records,
    read_records,
)
from dgprune.reliability import Labels, fit_temperature, reliability
from dgprune.runtimes import Runtime
from dgprune.runtimes.opening import runtime_spec
from dgprune.schema import digest
from dgprune.source import split_for
from dgprune.stage import Done

_IMAGES_AT_ONCE = 512
_BATCH = 32
_OBSERVED = "predictions, reliability"  # a record without them does not count as done


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateSpec:
    """What to evaluate (an artefact or checkpoint folder), and on what."""

    subject: str
    data: str
    target: str | None = None
    protocol: str | None = None
    runtime: str | None = None
    provider: str | None = None
    allow_fallback: bool = False
    skip_bad_images: bool = False


@dataclass(frozen=True, kw_only=True)
class _Setting:
    subject: OpenSubject
    data: DataSet
    runtime: RuntimeSpec
    loading: Loading
    batch_size: int


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """Logits [n, classes] and true classes [n] of the images of one domain, in manifest order."""

    samples: tuple[Sample, ...]
    labels: Labels
    logits: Floats
    skipped: int


def evaluate(spec: EvaluateSpec, records: Path, progress: Progress = SILENT) -> Done:
    """Appends an accuracy record a domain and role to `records`: of validation and held out."""
    subject = open_subject(Path(spec.subject))
    data = open_data(spec.data)
    split = split_for(data, spec.target, subject.subject.origin, spec.protocol)
    runtime = runtime_spec(
        subject.subject.format,
        spec.runtime,
        spec.provider,
        threads_here(),
        allow_fallback=spec.allow_fallback,
    )
    cell = digest(
        {
            "evaluate": subject.subject.sha256,
            "observed": _observed(subject),
            "split": split.digest(),
            "data": data.file_digest,
            "runtime": [runtime.name, runtime.provider],
            "skip_bad_images": spec.skip_bad_images,
            "allow_fallback": spec.allow_fallback,
        }
    )
    split.require_intact(records.parent)
    there = open_records(records)
    if any(entry.cell == cell for entry in there):
        progress.line(f"already done: accuracy of {subject.subject.label} in {records}")
        _tell([e.record for e in there if e.cell == cell], progress)
        return Done(path=records, fresh=False, summary=_summary(there, cell))
    setting = _Setting(
        subject=subject,
        data=data,
        runtime=runtime,
        loading=Loading(split=split, skip_bad_images=spec.skip_bad_images, progress=progress),
        batch_size=subject.form.batch or min(_BATCH, subject.form.largest or _BATCH),
    )
    with subject.run(runtime) as opened:
        proof = proven(opened, subject, runtime, setting.batch_size)
        found = _measured(setting, opened, proof, split)
    append_records(records, cell, found)
    _tell(found, progress)
    return Done(path=records, fresh=True, summary=_summary(read_records(records), cell))


def _tell(found: Sequence[Record], progress: Progress) -> None:
    """A line a domain."""
    for record in found:
        if isinstance(record, AccuracyRecord):
            progress.line(
                f"{record.subject.label} on {record.domain} ({record.role}): "
                f"{record.accuracy:.2%} of {record.images} images"
            )


def _measured(
    setting: _Setting, runtime: Runtime, proof: Proof, split: Split
) -> list[AccuracyRecord]:
    """A record a domain and role, in their order.

    The temperature is fitted before the first image that was held out is loaded.
    """
    parts = split.measured()
    seen = {
        part: _see(setting, runtime, samples, Purpose.CALIBRATE)
        for part, samples in parts.items()
        if part[1] == "source-val"
    }
    temperature = _temperature(list(seen.values()))
    for part, samples in parts.items():
        if part not in seen:
            seen[part] = _see(setting, runtime, samples, Purpose.REPORT)
    return [_record(setting, proof, part, seen[part], temperature) for part in parts]


def _temperature(sources: Sequence[_Seen]) -> float | None:
    """Fitted on all source validation images; None where there are none."""
    if not sources:
        return None
    return fit_temperature([seen.logits for seen in sources], [seen.labels for seen in sources])


def _see(setting: _Setting, runtime: Runtime, samples: Sequence[Sample], purpose: Purpose) -> _Seen:
    """Logits of all images of a domain that can be read, and that `purpose` may see."""
    there = len(samples)
    samples = without_leaks(samples, purpose, setting.loading)
    seen: list[Sample] = []
    labels, logits = [], []
    for start in range(0, len(samples), _IMAGES_AT_ONCE):
        images = load_images(
            setting.data,
            samples[start : start + _IMAGES_AT_ONCE],
            setting.subject.subject.origin.preprocessing,
            purpose=Purpose.REPORT,  # what leaks is left out above, all at once
            loading=replace(setting.loading, may_be_empty=True),
        )
        if not len(images):
            continue
        seen += images.samples
        labels.append(images.labels)
        logits.append(_logits(runtime, images, setting))
    if not seen:
        raise DgpruneError(f"none of {there} images of a domain could be read; repair them")
    return _Seen(
        samples=tuple(seen),
        labels=np.concatenate(labels),
        logits=np.concatenate(logits),
        skipped=there - len(seen),
    )


def _record(
    setting: _Setting,
    proof: Proof,
    part: tuple[str, Role],
    seen: _Seen,
    temperature: float | None,
) -> AccuracyRecord:
    subject = setting.subject.subject
    classes = len(subject.origin.classes)
    predicted = seen.logits.argmax(1)
    confusion = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(confusion, (seen.labels, predicted), 1)
    right = "".join("1" if hit else "0" for hit in predicted == seen.labels)
    return AccuracyRecord(
        subject=subject,
        runtime=setting.runtime,
        domain=part[0],
        role=part[1],
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        skipped=seen.skipped,
        correct_hex=f"{int(right, 2):x}",
        environment=current_environment(),
        proof=proof,
        predictions_hex=pack(predicted.tolist(), classes),
        images_sha256=images_sha256(seen.samples),
        reliability=reliability(seen.logits, seen.labels),
        scaled=None if temperature is None else reliability(seen.logits, seen.labels, temperature),
    )


def _logits(runtime: Runtime, images: Images, setting: _Setting) -> Floats:
    """Logits [n, classes] of all images; the last batch is padded where the batch size is fixed."""
    size = setting.batch_size
    logits = []
    for start in range(0, len(images), size):
        batch = setting.subject.inputs(images.pixels[start : start + size])
        count = len(batch)
        if setting.subject.form.batch is not None and count < size:
            padding = np.zeros((size - count, *batch.shape[1:]), batch.dtype)
            batch = np.concatenate([batch, padding])
        runtime.bind([batch])
        runtime.infer(0)
        logits.append(runtime.output(0)[:count])
    found = setting.subject.logits(np.concatenate(logits))
    if not np.isfinite(found).all():
        raise DgpruneError(f"{setting.subject.file} gave logits that are not numbers")
    return found


def _observed(subject: OpenSubject) -> str:
    """What a record has to hold to count as done.

    Those of probabilities were once scored as if they were logits.
    """
    return _OBSERVED + (", of probabilities" if subject.gives_probabilities else "")


def _summary(entries: list[Entry], cell: str) -> dict[str, object]:
    """Accuracy by domain, of the records of `cell`."""
    found = [e.record for e in entries if e.cell == cell and isinstance(e.record, AccuracyRecord)]
    return {
        "label": found[0].subject.label,
        "sha256": found[0].subject.sha256,
        "accuracy": {f"{record.domain} ({record.role})": record.accuracy for record in found},
    }
