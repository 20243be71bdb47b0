"""What a sweep was asked for and has not measured, and why: lines beside the records of a file.

They are no measurements: `read_records` passes them over, and a report counts and names them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dgprune.collection import no_collection
from dgprune.record_lines import MISSING, Line, parsed, raw_lines
from dgprune.records import Entry, entry_of
from dgprune.schema import canonical_json, decode, encode, seal

SCHEMA = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """One model of a grid that is not there, in the words of its plan.

    `recipe` is equal for cells that differ in target and seed only; `like` holds the first digits
    of the digest of an exported file of that recipe whose records are in the same file, None where
    there is none. `criterion`, `ranking` and `ratio` are None of a dense model. With `oracle` what
    is held out would have chosen its weights.
    """

    cell: str
    recipe: str
    label: str
    model: str
    image_size: int
    data_name: str
    data_digest: str
    target: str
    seed: int
    format: str
    precision: str
    oracle: bool
    reason: str
    criterion: str | None = None
    ranking: str | None = None
    ratio: float | None = None
    like: str | None = None

    @property
    def recipe_name(self) -> str:
        """What a person reads, without target and seed."""
        return f"{self.model} at {self.image_size} px: {self.label}"


def missing_line(missing: Missing) -> str:
    """The sealed line of a records file, without its end."""
    return canonical_json(seal({"schema": SCHEMA, "kind": MISSING, **encode(missing)}))


def read_all(path: Path, lines: Sequence[str] | None = None) -> tuple[list[Entry], list[Missing]]:
    """Every record of a file, and all that it says is missing; of its `lines` where they are read.

    Raises DgpruneError as `read_records` does.
    """
    found = parsed(raw_lines(path) if lines is None else lines, path)
    with no_collection():
        return (
            [entry_of(line) for line in found if line.kind != MISSING],
            [_missing(line) for line in found if line.kind == MISSING],
        )


def _missing(line: Line) -> Missing:
    if line.schema != SCHEMA:
        raise line.unknown()
    return decode(Missing, line.body, where=line.where)
