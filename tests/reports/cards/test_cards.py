"""Model cards: facts of the records, a head that a hub reads, and names that are safe."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from markdown_it import MarkdownIt

from dgprune.records import AccuracyRecord, Entry
from reports.cards.card import card_text
from reports.cards.subject import cards_of
from reports.data.facts import facts_of
from reports.escaping import file_stem, yaml_string
from reports.rows import tables
from tests.fakes.accuracy import entries_of
from tests.fakes.hostile import TEXTS, hostile_entries
from tests.fakes.many_records import many_entries


def cards(entries: list[Entry]) -> dict[str, str]:
    found = cards_of(facts_of(entries, tables(entries)))
    return {name: card_text(card) for name, card in found.items()}


def head(card: str) -> dict[str, Any]:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    _, text, _ = card.split("---\n", 2)
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def cells(card: str, first: str) -> list[list[str]]:
    """Rows of the card's tables whose first cell is `first`."""
    lines = [line.strip("| ").split(" | ") for line in card.splitlines() if line.startswith("| ")]
    return [line for line in lines if line[0] == first]


@pytest.fixture(scope="module")
def entries() -> list[Entry]:
    return many_entries(1)


@pytest.fixture(scope="module")
def card(entries: list[Entry]) -> str:
    (name,) = (name for name in cards(entries) if name.startswith("tp-l1-75-"))
    return cards(entries)[name]


def test_every_file_has_a_card_named_by_label_and_digest(entries: list[Entry]) -> None:
    shas = {e.record.subject.sha256: e.record.subject.label for e in entries}
    assert set(cards(entries)) == {f"{label}-{sha[:12]}.md" for sha, label in shas.items()}


def test_the_head_is_yaml_with_every_accuracy(entries: list[Entry], card: str) -> None:
    found = head(card)
    assert found["license"] == "other" and found["pipeline_tag"] == "image-classification"
    (model,) = found["model-index"]
    assert model["name"] == "tp-l1-75"
    values = {r["dataset"]["name"]: r["metrics"][0]["value"] for r in model["results"]}
    records = [
        e.record
        for e in entries
        if isinstance(e.record, AccuracyRecord) and e.record.subject.label == "tp-l1-75"
    ]
    assert values == {f"PACS, {record.domain}": record.accuracy for record in records}


def test_numbers_and_digests_are_those_of_the_records(entries: list[Entry], card: str) -> None:
    own = [e for e in entries if e.record.subject.label == "tp-l1-75"]
    (unseen,) = cells(card, "art\\_painting")[:1]
    assert unseen[1:5] == ["unseen: never trained on", "onnxruntime", "78 of 100", "78.0 %"]
    assert own[0].record.subject.sha256 in card
    for step in own[0].record.subject.lineage:
        assert step.digest in card
    for entry in own:
        assert entry.id in card
    timed = [line.split(" | ") for line in card.splitlines() if line.startswith("| onnxruntime")]
    assert [(row[1], row[4], row[6]) for row in timed] == [
        ("1", "4.00x", "faster |"),
        ("32", "4.00x", "faster |"),
    ]


def test_calibration_is_before_and_after_the_temperature(entries: list[Entry], card: str) -> None:
    (record,) = (
        e.record
        for e in entries
        if isinstance(e.record, AccuracyRecord)
        and e.record.subject.label == "tp-l1-75"
        and e.record.role == "target"
    )
    assert record.reliability is not None and record.scaled is not None
    row = cells(card, "art\\_painting")[1]
    assert row[1:] == [
        f"{record.reliability.ece:.3f}",
        f"{record.reliability.nll:.3f}",
        "2.00",
        f"{record.scaled.ece:.3f}",
        f"{record.scaled.nll:.3f}",
    ]


def test_what_was_not_measured_is_said_and_not_made_up() -> None:
    (text,) = cards(entries_of("dense", "a", 0, {"a": 6, "b": 9})).values()
    latency = text.split("## Latency\n\n")[1].split("\n##")[0]
    assert latency.strip() == "Not measured."
    assert "structured-pruning" not in text
    assert "The records name no license" in text


def test_warnings_are_those_that_concern_the_file() -> None:
    entries = entries_of("dense", "a", 0, {"a": 6, "b": 9}) + entries_of("l1", "a", 0, {"a": 5})
    by_label = {name.split("-")[0]: text for name, text in cards(entries).items()}
    assert "was not measured on b." in by_label["l1"]
    assert "was not measured on" not in by_label["dense"].split("## Data")[0].split("## Warn")[1]


def test_weights_that_were_never_trained_are_named() -> None:
    entries = entries_of("dense", "a", 0, {"a": 6})
    bare = [
        replace(
            e,
            record=replace(
                e.record,
                subject=replace(e.record.subject, lineage=e.record.subject.lineage[:1]),
            ),
        )
        for e in entries
    ]
    assert "Never trained on this data" in next(iter(cards(bare).values()))


def test_hostile_text_is_text_in_head_and_body() -> None:
    found = cards(hostile_entries())
    assert len(found) == 16
    for name, text in found.items():
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*\.md", name) and len(name) < 90
        assert head(text)["license"] == "other"
        body = text.split("---\n", 2)[2]
        seen = Tags(MarkdownIt("commonmark", {"html": True}).enable("table").render(body))
        assert not seen.tags & {"script", "a", "img", "code", "em", "strong"}
        assert seen.headings == 12
    names = {row["name"] for text in found.values() for row in head(text)["model-index"]}
    assert {" ".join(text.split()) for text in TEXTS[:6]} <= names


class Tags(HTMLParser):
    """Tags of a page, and how many headings it has."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.headings = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.headings += tag in ("h1", "h2", "h3")


@pytest.mark.parametrize("text", TEXTS)
def test_a_yaml_string_comes_back(text: str) -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    assert yaml.safe_load(f"key: {yaml_string(text)}\n") == {"key": text}


@pytest.mark.parametrize(
    ("label", "stem"),
    [("../../etc/passwd", "etc-passwd"), ("...", "file"), ("a b/c", "a-b-c"), ("x" * 99, "x" * 60)],
)
def test_names_of_files_by_hand(label: str, stem: str) -> None:
    assert file_stem(label) == stem


def test_equal_names_are_told_apart() -> None:
    entries = entries_of("a b", "a", 0, {"a": 6})
    other = [
        replace(
            e,
            id=e.id[::-1],
            record=replace(
                e.record,
                subject=replace(
                    e.record.subject,
                    label="A-B",
                    sha256=e.record.subject.sha256[:12].upper() + "0" * 52,
                ),
            ),
        )
        for e in entries
    ]
    names = sorted(cards([*entries, *other]))
    assert len({name.lower() for name in names}) == 2
