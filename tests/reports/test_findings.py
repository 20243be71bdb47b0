"""docs/findings.md: every number of a paragraph stands in a published report that it links to."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "findings.md"
LINK = re.compile(r"\]\((\.\./reports/published/[^)#]+)\)")
# Shares, speedups, millions of MACs; what a paper published stands in the layout's columns too.
NUMBER = re.compile(r"\d+\.\d+(?= ?%| ?x\b| ?M\b| points)")


def paragraphs() -> list[str]:
    return [text for text in PAGE.read_text("utf-8").split("\n\n") if NUMBER.search(text)]


@pytest.mark.parametrize("text", paragraphs(), ids=lambda text: text[:40])
def test_every_number_is_in_a_report_that_is_linked_beside_it(text: str) -> None:
    linked = [(PAGE.parent / link).resolve() for link in LINK.findall(text)]
    assert linked, f"no published report is linked: {text[:80]}"
    assert all(path.is_file() for path in linked)
    told = "\n".join(path.read_text("utf-8") for path in linked)
    missing = [number for number in NUMBER.findall(text) if number not in told]
    assert not missing, f"not in {linked}: {missing}"
