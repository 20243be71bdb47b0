"""Markdown of a card: headings, lists and tables, with every text escaped."""

from collections.abc import Iterable, Sequence

from reports.escaping import escape_markdown, one_line

_NOTHING = "Not measured.\n"


def md(text: str) -> str:
    """Text from a record on one line, without markup."""
    return escape_markdown(one_line(text))


def heading(title: str, body: str) -> str:
    """A section; one with nothing in it says so."""
    return f"## {title}\n\n{body or _NOTHING}"


def bullets(lines: Iterable[str]) -> str:
    """A list, a line each."""
    return "".join(f"- {md(line)}\n" for line in lines)


def table_text(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; nothing where it has no row."""
    lines = [f"| {' | '.join(map(md, row))} |\n" for row in rows]
    if not lines:
        return ""
    head = f"| {' | '.join(map(md, header))} |\n|{' --- |' * len(header)}\n"
    return head + "".join(lines)
