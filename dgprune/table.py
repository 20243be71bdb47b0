"""A table on stderr: drawn on a terminal, plain lines without one."""

import sys
from collections.abc import Sequence

_NAME = 24  # columns that the first one needs at least, with the frame


def print_table(title: str, header: Sequence[str], body: Sequence[Sequence[str]]) -> None:
    """Prints `body` under `header`; the first column is text, the others numbers."""
    if sys.stderr.isatty():
        _drawn(title, header, body)
    else:
        _plain(title, header, body)


def _drawn(title: str, header: Sequence[str], body: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(stderr=True)
    numbers = sum(max(map(len, column)) + 3 for column in list(zip(header, *body, strict=True))[1:])
    if console.width < numbers + _NAME:
        return _plain(title, header, body)  # a row goes on in the next line; nothing is cut off
    table = Table(title=escape(title), title_justify="left")
    table.add_column(escape(header[0]), overflow="fold")
    for name in header[1:]:
        table.add_column(escape(name), justify="right", no_wrap=True)
    for row in body:
        table.add_row(*map(escape, row))
    return console.print(table)


def _plain(title: str, header: Sequence[str], body: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(header, *body, strict=True)]
    print(title, file=sys.stderr)
    for row in [header, *body]:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(f"  {line.rstrip()}", file=sys.stderr)
