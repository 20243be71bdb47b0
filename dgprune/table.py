"""A table on stderr: drawn on a terminal, plain lines without one."""

import sys
from collections.abc import Sequence


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

    table = Table(title=escape(title), title_justify="left")
    for number, name in enumerate(header):
        table.add_column(escape(name), justify="right" if number else "left")
    for row in body:
        table.add_row(*map(escape, row))
    Console(stderr=True).print(table)


def _plain(title: str, header: Sequence[str], body: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(header, *body, strict=True)]
    print(title, file=sys.stderr)
    for row in [header, *body]:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(f"  {line.rstrip()}", file=sys.stderr)
