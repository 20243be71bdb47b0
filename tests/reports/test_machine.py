"""What computed is named the same wherever it is told: sentences and cards."""

from dataclasses import replace

import pytest

from dgprune.records import Record, read_records
from reports.cards.card import card_text
from reports.cards.subject import cards_of
from reports.data.facts import facts_of
from reports.rows import tables
from reports.summary import sentences
from tests.conftest import TinyChain


@pytest.mark.parametrize(
    ("runtime", "package"), [("onnxruntime", "onnxruntime-gpu"), ("torch-compile", "torch")]
)
def test_a_runtime_whose_package_is_called_otherwise_has_its_version(
    chain: TinyChain, runtime: str, package: str
) -> None:
    def elsewhere(record: Record) -> Record:
        libraries = {**record.environment.libraries, package: "9.8"}
        libraries.pop(runtime, None)
        environment = replace(record.environment, libraries=libraries)
        named = replace(record.runtime, name=runtime)
        return replace(record, environment=environment, runtime=named)

    entries = [replace(e, record=elsewhere(e.record)) for e in read_records(chain.records)]
    found = tables(entries)
    told = f"{runtime} 9.8 (cpu, 1 thread)"
    assert any(f" on {told}, batch 1" in line for line in sentences(found[0]))
    cards = [card_text(card) for card in cards_of(facts_of(entries, found)).values()]
    assert len(cards) == 2 and all(f"| {told} |" in card for card in cards)
