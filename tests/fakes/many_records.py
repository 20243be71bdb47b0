"""Thousands of records made by hand, as a large sweep leaves them: accuracy and latency."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count, product

from dgprune.lineage import LineageStep
from dgprune.records import Entry, LatencyRecord, Subject, read_records
from dgprune.schema import Json, digest
from dgprune.timing import Replica, TimedBlock
from tests.fakes.accuracy import FIXTURE, seen

DOMAINS = ("art_painting", "cartoon", "photo", "sketch")
CLASSES = ("dog", "elephant", "giraffe", "guitar", "horse", "house", "person")
CRITERIA = ("hessian", "taylor", "l1", "l2", "random")
ROUNDS = 12


def many_entries(
    records: int,
    *,
    model: str = "vit_base_patch16_224",
    engine: str | None = "torch-pruning",
    data: str = "PACS",
    rename: dict[str, str] | None = None,
) -> list[Entry]:
    """At least `records` records: every target, by seed, criterion and ratio; PACS by name.

    `rename` puts other texts in the place of labels, domains and classes.
    """
    names = rename or {}
    found: list[Entry] = []
    for seed in count():
        for target in DOMAINS:
            if len(found) >= records:
                return found
            found += _of_target(target, seed, model, engine, data, names)
    raise AssertionError("seeds never end")


def _of_target(
    target: str, seed: int, model: str, engine: str | None, data: str, names: dict[str, str]
) -> list[Entry]:
    dense = _subject("dense", target, seed, model, None, data, names)
    found = [*_accuracy(dense, target, 90, names)]
    found += [_latency(dense, dense, batch, 1.0) for batch in (1, 32)]
    for place, (criterion, ratio) in enumerate(product(CRITERIA, (0.5, 0.75, 0.95))):
        asked: Json = {"criterion": criterion, "ratio": ratio, "seed": seed}
        asked |= {"engine": engine} if engine else {}
        label = f"tp-{criterion}-{100 * ratio:g}"
        pruned = _subject(label, target, seed, model, asked, data, names)
        found += _accuracy(pruned, target, 85 - place, names)
        found += [_latency(pruned, dense, batch, 1 / (1 - ratio)) for batch in (1, 32)]
    return found


def _subject(
    label: str,
    target: str,
    seed: int,
    model: str,
    prune: Json | None,
    data: str,
    names: dict[str, str],
) -> Subject:
    template = read_template().subject
    specs: list[tuple[str, Json]] = [("source", {"seed": seed}), ("finetune", {"seed": seed})]
    specs += [("prune", prune), ("finetune", {"seed": seed, "epochs": 2})] if prune else []
    steps = tuple(
        LineageStep(stage=stage, digest=digest([model, specs[: n + 1], target]), spec=spec)
        for n, (stage, spec) in enumerate(specs)
    )
    origin = replace(
        template.origin,
        model=model,
        data_name=data,
        target=names.get(target, target),
        split_digest=digest(target),
        classes=tuple(names.get(name, name) for name in CLASSES),
    )
    sha256 = digest([label, target, seed, model, prune])
    label = names.get(label, label)
    return replace(template, label=label, sha256=sha256, origin=origin, lineage=steps)


def read_template() -> LatencyRecord:
    """The latency record that the others are made from."""
    record = _TEMPLATE
    assert isinstance(record, LatencyRecord)
    return record


_TEMPLATE = read_records(FIXTURE)[2].record
_ACCURACY = {hits: seen([0] * 100, [0] * hits + [1] * (100 - hits)) for hits in range(60, 101)}


def _accuracy(subject: Subject, target: str, hits: int, names: dict[str, str]) -> Iterator[Entry]:
    """On all domains; the sources are five images better."""
    for domain in DOMAINS:
        is_target = domain == target
        record = replace(
            _ACCURACY[hits if is_target else hits + 5],
            subject=subject,
            domain=names.get(domain, domain),
            role="target" if is_target else "source-val",
            images_sha256=digest(domain),
        )
        yield Entry(id=digest([subject.sha256, domain])[:16], cell=subject.sha256, record=record)


def _latency(subject: Subject, dense: Subject, batch_size: int, speedup: float) -> Entry:
    template = read_template()
    durations = {"baseline": 4_000_000 * batch_size}
    durations["candidate"] = round(durations["baseline"] / speedup)
    blocks = tuple(
        TimedBlock(arm=arm, round=index, durations_ns=(durations[arm] + index,) * 3)
        for index in range(ROUNDS)
        for arm in ("baseline", "candidate", "candidate", "baseline")
    )
    replica = Replica(build=0, stationary=True, load_average=0.0, blocks=blocks)
    record = replace(
        template, subject=subject, baseline=dense, batch_size=batch_size, replicas=(replica,)
    )
    identity = digest([subject.sha256, dense.sha256, batch_size])[:16]
    return Entry(id=identity, cell=subject.sha256, record=record)
