"""The lines of a records file, each whole and as it was written; what one holds is told by kind."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dgprune.collection import no_collection
from dgprune.errors import DgpruneError
from dgprune.schema import Json, unseal
from dgprune.store import json_lines, lines_text

# Each kind of line is written in the lowest schema that knows it, so that a file without the
# newest kind stays readable by older versions, byte by byte what they would have written.
SCHEMA, _OLDER = 4, (1, 2, 3)
MISSING = "missing"  # the kind that is no measurement


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line, its seal checked and taken off; `where` names file and line in an error."""

    where: str
    id: str
    schema: int
    kind: str
    body: Json

    def unknown(self) -> DgpruneError:
        """The error for a kind that its schema does not have."""
        return DgpruneError(f"{self.where} is of unknown kind {self.kind!r}; remove the line")


def read_lines(path: Path) -> list[Line]:
    """Every line of a file; a last one torn by a crash is left out.

    Raises DgpruneError for an unknown schema, an edited line, or one that is not a record.
    """
    return parsed(raw_lines(path), path)


def raw_lines(path: Path) -> list[str]:
    """The lines of a file as they were written, read once: it may be a pipe, or grow meanwhile."""
    return json_lines(lines_text(path))


def parsed(lines: Sequence[str], path: Path) -> list[Line]:
    """What the `lines` of the file `path` hold; raises as `read_lines` does."""
    with no_collection():
        return [_line(line, f"{path}:{n}") for n, line in enumerate(lines, 1) if line.strip()]


def _line(line: str, where: str) -> Line:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or "schema" not in value:
        raise DgpruneError(
            f"{where} is not a record (JSON with a schema number); remove the line, or name "
            "another file where it holds no records at all"
        )
    body = unseal(value, SCHEMA, where=where, older=_OLDER, text=line)
    schema, kind = body.pop("schema"), str(body.pop("kind", None))
    return Line(where=where, id=str(value["id"]), schema=schema, kind=kind, body=body)
