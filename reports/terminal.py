"""The report's table on a terminal, or as plain lines without one."""

import sys
from typing import Any

from dgprune.schema import Json


def show(summary: Json) -> None:
    """Prints every table of a report's summary on stderr."""
    for title, rows in summary.items():
        sizes = list(dict.fromkeys(size for row in rows for size in row["speedup"]))
        header = [
            "file",
            "unseen",
            "sources",
            "MACs",
            *(f"speedup, batch {size}" for size in sizes),
        ]
        body = [_cells(row, sizes) for row in rows]
        print_table(title, header, body)


def print_table(title: str, header: list[str], body: list[list[str]]) -> None:
    """Prints one table on stderr."""
    if sys.stderr.isatty():
        _table(title, header, body)
    else:
        _plain(title, header, body)


def _cells(row: Any, sizes: list[str]) -> list[str]:
    cells = [row["file"], _percent(row["unseen_accuracy"]), _percent(row["source_val_accuracy"])]
    cells.append(f"{row['macs_per_image'] / 1e6:.1f} M")
    for size in sizes:
        cell = row["speedup"].get(size)
        text = (
            "-"
            if cell is None
            else f"{cell['estimate']:.2f}x [{cell['low']:.2f}, {cell['high']:.2f}]"
        )
        cells.append(text)
    return cells


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _table(title: str, header: list[str], body: list[list[str]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left")
    for name in header:
        table.add_column(escape(name), justify="left" if name == "file" else "right")
    for row in body:
        table.add_row(*map(escape, row))
    Console(stderr=True).print(table)


def _plain(title: str, header: list[str], body: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(header, *body, strict=True)]
    print(title, file=sys.stderr)
    for row in [header, *body]:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(f"  {line.rstrip()}", file=sys.stderr)
