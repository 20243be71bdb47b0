"""Templates of pages: text from records is escaped in HTML by Jinja, in Markdown by `md`."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from reports.escaping import escape_markdown

_FOLDER = Path(__file__).parent / "templates"


def templates(*, autoescape: bool) -> Environment:
    """The environment of every page; `autoescape` for HTML."""
    made = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=autoescape,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    made.filters["md"] = escape_markdown
    return made
