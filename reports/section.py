"""A titled table of texts, the same in HTML and in Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass

DASH = "–"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """`text` says how to read the table; the first column names its rows."""

    title: str
    text: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Rows = tuple[tuple[str, ...], ...]


def without_empty(
    header: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[tuple[str, ...], Rows]:
    """The columns of which some row has something to tell; the others are dashes all the way."""
    kept = [n for n in range(len(header)) if any(row[n] != DASH for row in rows)]
    return tuple(header[n] for n in kept), tuple(tuple(row[n] for n in kept) for row in rows)
