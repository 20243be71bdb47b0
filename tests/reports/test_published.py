"""What is published can be read by whoever clones it: its links, its plans and recipes."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "reports" / "published"
PAGES = sorted([*PUBLISHED.rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text("utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_no_plan_or_recipe_names_a_place_of_the_machine_it_was_made_on() -> None:
    files = sorted(PUBLISHED.rglob("*.toml"))
    assert len(files) > 10
    for file in files:
        paths = re.findall(r'^(?:data|weights) = "(.*)"', file.read_text("utf-8"), re.MULTILINE)
        assert paths and not [path for path in paths if "/" in path], file
