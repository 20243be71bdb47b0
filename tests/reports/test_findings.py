"""docs/findings.md and what the README says of it: every number stands in a linked report."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE, README = ROOT / "docs" / "findings.md", ROOT / "README.md"
LINK = re.compile(r"\]\(((?:\.\./)?reports/published/[^)#]+)\)")
# Shares, speedups, millions of MACs; what a paper published stands in the layout's columns too.
NUMBER = re.compile(r"\d+\.\d+(?= ?%| ?x\b| ?M\b| points)")


def paragraphs() -> list[tuple[Path, str]]:
    """Those with a number; the section of the README with its table is one."""
    found = README.read_text("utf-8").partition("## What it finds")[2].partition("\n## ")[0]
    texts = [(PAGE, text) for text in PAGE.read_text("utf-8").split("\n\n")]
    return [(page, text) for page, text in [(README, found), *texts] if NUMBER.search(text)]


@pytest.mark.parametrize(("page", "text"), paragraphs(), ids=lambda part: str(part)[-40:])
def test_every_number_is_in_a_report_that_is_linked_beside_it(page: Path, text: str) -> None:
    linked = [(page.parent / link).resolve() for link in LINK.findall(text)]
    assert linked, f"no published report is linked: {text[:80]}"
    assert all(path.is_file() for path in linked)
    told = "\n".join(path.read_text("utf-8") for path in linked)
    missing = [number for number in NUMBER.findall(text) if number not in told]
    assert not missing, f"not in {linked}: {missing}"
