"""The report's table on a terminal, or as plain lines without one."""

import sys
from typing import Any

from dgprune.schema import Json
from dgprune.table import print_table
from reports.compare.sections import COMPARED
from reports.missing import MISSING
from reports.over_targets_section import OVER_TARGETS, terminal_cells
from reports.times import mark

_HEADINGS = {
    "unseen_accuracy": "unseen",
    "in_domain_test_accuracy": "in-domain test",
    "oracle_accuracy": "oracle",
}


def show(summary: Json) -> None:
    """Prints every table of a report's summary, or what a comparison found, on stderr."""
    if COMPARED in summary:
        for text in (*summary["warnings"], *summary[COMPARED]):
            print(text, file=sys.stderr)
        return
    for title, rows in summary.items():
        if title in (OVER_TARGETS, MISSING):
            continue
        key = next(key for key in _HEADINGS if all(key in row for row in rows))
        sizes = list(dict.fromkeys(size for row in rows for size in row["speedup"]))
        header = [
            "file",
            _HEADINGS[key],
            "validation" if key == "in_domain_test_accuracy" else "sources",
            "MACs",
            *(f"speedup, batch {size}" for size in sizes),
        ]
        body = [_cells(row, key, sizes) for row in rows]
        print_table(title, header, body)
    for grid in summary.get(OVER_TARGETS, []):
        rows = grid["rows"]
        header = ["recipe", *rows[0]["targets"], grid["average"]]
        print_table(grid["title"], header, [terminal_cells(row) for row in rows])
    for text in summary.get(MISSING, {}).get("notes", []):
        print(text, file=sys.stderr)


def _cells(row: Any, key: str, sizes: list[str]) -> list[str]:
    cells = [row["file"], _percent(row[key]), _percent(row["source_val_accuracy"])]
    cells.append(f"{row['macs_per_image'] / 1e6:.1f} M")
    for size in sizes:
        cell = row["speedup"].get(size)
        cells.append("-" if cell is None else _speedup(cell))
    return cells


def _speedup(cell: Json) -> str:
    low, high = ("-" if cell[name] is None else f"{cell[name]:.2f}" for name in ("low", "high"))
    return f"{cell['estimate']:.2f}x [{low}, {high}]{mark(cell['verdict'])}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
