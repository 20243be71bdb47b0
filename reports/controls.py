"""The A/A controls among records: which one judges a speedup, and which of them a page prints."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from dgprune.judgement import control_of
from dgprune.records import Entry, LatencyRecord
from reports.speed import Control, SpeedCell, speed_cell, weight


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """All controls, by the SHA-256 of the file that was timed against itself."""

    by_file: dict[str, list[Control]]

    def of(self, record: LatencyRecord) -> Control | None:
        """The one that judges `record`; None where there is none."""
        known = self.by_file.get(record.baseline.sha256, []) if record.baseline else []
        judging = control_of(record, [control.record for control in known])
        return next((control for control in known if control.record is judging), None)


def controls_among(entries: Sequence[Entry]) -> Controls:
    """Those of `entries`, in their order."""
    found: dict[str, list[Control]] = defaultdict(list)
    for entry in entries:
        if isinstance(entry.record, LatencyRecord) and entry.record.is_control:
            found[entry.record.subject.sha256].append(Control(id=entry.id, record=entry.record))
    return Controls(by_file=dict(found))


def printed(shown: Sequence[SpeedCell], alone: Sequence[SpeedCell]) -> tuple[SpeedCell, ...]:
    """The controls that judge `shown`, by batch size.

    Where nothing of a batch size is shown it is that of the best backed of `alone`, dense against
    itself.
    """
    sizes = {cell.record.batch_size for cell in shown}
    best = {cell.record.batch_size: cell for cell in sorted(alone, key=size_then_weight)}
    judged = [*shown, *(cell for size, cell in best.items() if size not in sizes)]
    judging = {cell.control.id: cell.control for cell in judged if cell.control is not None}
    cells = [speed_cell(control.id, control.record, control) for control in judging.values()]
    told = [cell for cell in cells if cell is not None]  # of one that never ran a doubt tells
    return tuple(sorted(told, key=lambda cell: cell.record.batch_size))


def size_then_weight(cell: SpeedCell) -> tuple[int, tuple[int, float]]:
    """Sorts the best backed of a batch size last."""
    return cell.record.batch_size, weight(cell.record)
