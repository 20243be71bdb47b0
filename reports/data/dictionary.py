"""What every column of the data tables is, as a page beside them."""

from collections.abc import Sequence

from reports.data.columns import DataTable

_HEAD = """# Tables

CSV is RFC 4180 in UTF-8; Parquet, where it is there, holds the same with types. Numbers have all
their digits; shares are 0 to 1, times are seconds, sizes are bytes, as the names say. What was not
measured is empty in CSV and null in Parquet.

**Formulas.** In CSV, text that begins with `=`, `+`, `-`, `@`, a tab or a carriage return (or one
of the first four in full width) has an apostrophe before it, so that a spreadsheet does not compute
it. Take that apostrophe off to have the text back; numbers are never touched, and Parquet has every
text as it is in the records.
"""


def dictionary_text(tables: Sequence[DataTable]) -> str:
    """How to read the tables, and their columns."""
    return _HEAD + "".join(map(_columns, tables))


def _columns(table: DataTable) -> str:
    lines = [f"| {c.name} | {c.kind} | {c.about} |\n" for c in table.columns]
    head = (
        f"\n## {table.name}: {table.about}\n\n| column | type | what it is |\n| --- | --- | --- |\n"
    )
    return head + "".join(lines)
