"""Accuracy records made by hand: of labels and predictions, by model, target, seed and recipe."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from dgprune.lineage import LineageStep
from dgprune.predictions import pack
from dgprune.records import AccuracyRecord, Entry, read_records
from dgprune.reliability import reliability
from dgprune.schema import Json, digest

FIXTURE = Path(__file__).parents[1] / "dgprune" / "fixtures" / "records-schema-3.jsonl"
CLASSES = 4


def seen(
    labels: Sequence[int],
    predictions: Sequence[int],
    *,
    domain: str = "b",
    role: Literal["source-val", "target"] = "target",
    images: str = "the same",
) -> AccuracyRecord:
    """A record of images of four classes, sure of every prediction with probability 0.97."""
    template = _template()
    confusion = np.zeros((CLASSES, CLASSES), dtype=int)
    np.add.at(confusion, (np.array(labels), np.array(predictions)), 1)
    right = "".join("1" if a == b else "0" for a, b in zip(labels, predictions, strict=True))
    logits = np.log(np.where(np.eye(CLASSES)[list(predictions)] == 1, 0.97, 0.01))
    return replace(
        template,
        domain=domain,
        role=role,
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        correct_hex=f"{int(right, 2):x}",
        predictions_hex=pack(list(predictions), CLASSES),
        images_sha256=digest(images),
        reliability=reliability(logits, np.array(labels)),
        scaled=reliability(logits, np.array(labels), 2.0),
    )


@cache
def _template() -> AccuracyRecord:
    found = read_records(FIXTURE)[0].record
    assert isinstance(found, AccuracyRecord)
    return found


def entries_of(
    label: str, target: str, seed: int, right: dict[str, int], spec: Json | None = None
) -> list[Entry]:
    """What `evaluate` leaves of one file: of ten images a domain, `right` of them.

    Every label but `dense` is pruned from the dense file of the same target and seed and tuned
    again, with `spec` as its options.
    """
    steps = [_step("source", {"seed": seed}, target), _step("finetune", {"seed": seed}, target)]
    if label != "dense":
        steps += [_step("prune", {"criterion": label, "ratio": 0.5, "seed": seed}, target)]
        steps += [_step("finetune", {"seed": seed, **(spec or {})}, target)]
    sha256 = digest([label, target, seed, spec])
    found = []
    for domain, hits in right.items():
        role: Literal["source-val", "target"] = "target" if domain == target else "source-val"
        record = seen([0] * 10, [0] * hits + [1] * (10 - hits), domain=domain, role=role)
        origin = replace(record.subject.origin, target=target, split_digest=digest(target))
        subject = replace(
            record.subject, label=label, sha256=sha256, origin=origin, lineage=tuple(steps)
        )
        id_ = digest([sha256, domain])[:16]
        found.append(Entry(id=id_, cell=sha256, record=replace(record, subject=subject)))
    return found


def _step(stage: str, spec: Json, target: str) -> LineageStep:
    return LineageStep(stage=stage, digest=digest([stage, spec, target]), spec=spec)
