"""All that a report is made of."""

from dataclasses import dataclass
from functools import cached_property

from dgprune.missing import Missing
from dgprune.records import Entry
from reports.history import History
from reports.rows import Table, tables


@dataclass(frozen=True, kw_only=True)
class Material:
    """Measured `entries`, what records files say is `missing`, and stored runs of `make bench`."""

    entries: tuple[Entry, ...]
    missing: tuple[Missing, ...] = ()
    histories: tuple[History, ...] = ()

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        """One an experiment."""
        return tables(self.entries)
