"""A table as CSV: RFC 4180, UTF-8, and no text that a spreadsheet would take for a formula."""

import csv
import io

from reports.data.columns import DataTable, Value
from reports.escaping import spreadsheet_text


def csv_text(table: DataTable) -> str:
    """The table with a header; what was not measured is empty, numbers have all their digits.

    Text that begins as a formula does gets an apostrophe before it; numbers are never touched.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow([column.name for column in table.columns])
    writer.writerows([_cell(value) for value in row] for row in table.rows)
    return buffer.getvalue()


def _cell(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return spreadsheet_text(value) if isinstance(value, str) else repr(value)
