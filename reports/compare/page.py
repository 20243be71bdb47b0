"""The pages of a comparison, a pure function of two sets of records."""

from collections.abc import Sequence

from markupsafe import Markup

from dgprune import __version__
from dgprune.records import Entry
from reports.charts.draw import script
from reports.charts.theme import config
from reports.compare.matched import compare
from reports.compare.moves import moves
from reports.compare.sections import sections, warnings, words
from reports.render import environment_lines
from reports.rows import tables
from reports.templating import templates

FIRST, SECOND = "first.jsonl", "second.jsonl"
PAGE = "compare.html"


def comparison_pages(first: Sequence[Entry], second: Sequence[Entry]) -> dict[str, bytes]:
    """compare.html and compare.md of two sets of records."""
    found = compare(tables(first), tables(second))
    chart = moves(found.matched)
    shown = {
        "first": first,
        "second": second,
        "words": words(found),
        "warnings": warnings(found),
        "sections": sections(found),
        "charts": [chart] if chart else [],
        "chart_config": config(),
        "chart_script": Markup(script()),  # noqa: S704 - the library's own
        "first_environment": environment_lines(first),
        "second_environment": environment_lines(second),
        "version": __version__,
    }
    html = templates(autoescape=True).get_template("compare.html.j2").render(shown)
    markdown = templates(autoescape=False).get_template("compare.md.j2").render(shown)
    return {PAGE: html.encode(), "compare.md": markdown.encode()}
