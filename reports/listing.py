"""What lies beside the page, for a reader who looks for it."""

from collections.abc import Sequence
from dataclasses import dataclass

_TABLES = {
    "tables/README.md": "what every column of the tables is",
    "tables/files.csv": "one row a measured file and runtime",
    "tables/accuracy.csv": "one row an accuracy record",
    "tables/latency.csv": "one row a latency record",
    "tables/files.parquet": "the same as Parquet",
    "tables/accuracy.parquet": "the same as Parquet",
    "tables/latency.parquet": "the same as Parquet",
    "tables/files.tex": "the main tables in LaTeX (booktabs)",
    "tables/over-targets.tex": "the tables over targets and seeds in LaTeX",
    "tables/paper-layout.tex": "the layout of the paper in LaTeX",
}
_NO_PARQUET = "Parquet is left out: pyarrow was not installed (extra parquet)."


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Names of files with a word on each, the model cards, and what was left out, if anything."""

    files: tuple[tuple[str, str], ...]
    cards: tuple[str, ...]
    left_out: str


def listing(names: Sequence[str], *, parquet: bool) -> Listing:
    """The listing of the files `names`; `parquet` tells whether the report has Parquet.

    It may have it though it is not among `names`: `verify` cannot write it everywhere.
    """
    there = {*names, *((name for name in _TABLES if name.endswith(".parquet")) if parquet else ())}
    return Listing(
        files=tuple((name, about) for name, about in _TABLES.items() if name in there),
        cards=tuple(sorted(name for name in names if name.startswith("cards/"))),
        left_out="" if parquet else _NO_PARQUET,
    )
