"""What a model card speaks of: one file, and all that was measured of it on any runtime."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from dgprune.lineage import chosen_by_oracle
from dgprune.records import Subject
from reports.data.facts import AccuracyFacts, Facts, FileFacts, LatencyFacts
from reports.escaping import file_stem

_Of = tuple[str, str, bool]


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """Rows of the report, and records, of one file; `beside` are timings as another's baseline."""

    subject: Subject
    files: list[FileFacts] = field(default_factory=list)
    accuracy: list[AccuracyFacts] = field(default_factory=list)
    latency: list[LatencyFacts] = field(default_factory=list)
    beside: dict[tuple[str, str, int], LatencyFacts] = field(default_factory=dict)


def cards_of(facts: Facts) -> dict[str, CardFacts]:
    """What every card speaks of, by the name of its file: what the report's tables show of it.

    Equal bytes under two held-out domains have two cards: each has another unseen domain.
    """
    found: dict[_Of, CardFacts] = {}
    for file in facts.files:
        subject = file.row.subject
        found.setdefault(_of(subject), CardFacts(subject=subject)).files.append(file)
    for seen in facts.accuracy:
        if seen.is_shown and _of(seen.record.subject) in found:
            found[_of(seen.record.subject)].accuracy.append(seen)
    for timed in facts.latency:
        if timed.is_shown:
            _add_timing(found, timed)
    return _named(list(found.values()))


def _of(subject: Subject) -> _Of:
    return subject.sha256, subject.origin.target, chosen_by_oracle(subject.lineage)


def _add_timing(found: dict[_Of, CardFacts], timed: LatencyFacts) -> None:
    record = timed.record
    card = found.get(_of(record.subject))
    if card is not None and not record.is_control:
        card.latency.append(timed)
    dense = found.get(_of(record.baseline)) if record.baseline else None
    if dense is not None:
        place = (record.runtime.name, record.runtime.provider, record.batch_size)
        dense.beside.setdefault(place, timed)


def _named(cards: Sequence[CardFacts]) -> dict[str, CardFacts]:
    """Names are told apart without regard to case: not every file system has one."""
    found: dict[str, CardFacts] = {}
    taken: dict[str, int] = {}
    for card in cards:
        stem = f"{file_stem(card.subject.label)}-{file_stem(card.subject.sha256)[:12]}"
        taken[stem.lower()] = taken.get(stem.lower(), 0) + 1
        number = taken[stem.lower()]
        found[f"{stem}.md" if number == 1 else f"{stem}.{number}.md"] = card
    return found
