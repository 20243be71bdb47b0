"""What `dgprune report` was asked for: a report of records, or two sets side by side."""

from dataclasses import dataclass
from pathlib import Path

from dgprune.errors import DgpruneError
from dgprune.progress import Progress
from dgprune.stage import Done
from reports.compare.compare_records import compare_records
from reports.report import report


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSpec:
    """Either `records` (with a `history` or not), or two sets to `compare`."""

    records: tuple[Path, ...]
    out: Path
    history: Path | None = None
    compare: tuple[Path, Path] | None = None


def write_report(spec: ReportSpec, progress: Progress) -> Done:
    """The folder that was asked for; raises DgpruneError where both or neither was."""
    if spec.compare is None:
        if not spec.records:
            raise DgpruneError(
                "Missing argument RECORDS: name one or more records files, or two after --compare"
            )
        return report(spec.records, spec.out, progress, spec.history)
    if spec.records or spec.history:
        raise DgpruneError("--compare A B takes two sets and nothing else beside --out")
    return compare_records(*spec.compare, spec.out, progress)
