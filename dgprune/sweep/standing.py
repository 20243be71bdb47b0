"""Where a sweep stands before it goes on: what is done, what failed, what was damaged since."""

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dgprune.progress import Progress
from dgprune.store import discard
from dgprune.sweep.cells import Cell
from dgprune.sweep.journal import JOURNAL, Ended, read_journal
from dgprune.sweep.made import Made
from dgprune.sweep.plan import Plan
from dgprune.sweep.work import Place, what_is_wrong


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A plan against what its folder holds.

    `made` are the cells that are done and `failed` those that failed now, to both of which the
    driver adds. `failed_before` says why others failed the last time, `damaged` by cell what of it
    is no longer as it was, by folder or file.
    """

    cells: list[Cell]
    place: Place
    made: dict[str, Made]
    failed_before: dict[str, str]
    damaged: dict[str, dict[str, str]]
    journal: list[Ended]
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def errors(self) -> Mapping[str, str]:
        """Why a cell failed, now or before."""
        return ChainMap(self.failed, self.failed_before)


def standing_of(plan: Plan, out: Path, cells: list[Cell], *, skip_bad_images: bool) -> Standing:
    """How far the sweep in folder `out` is; nothing is written."""
    folder = Path(plan.data).absolute()
    place = Place(
        store=str(out.absolute()),
        data=str(folder) if folder.is_dir() else plan.data,
        skip_bad_images=skip_bad_images,
    )
    journal = read_journal(out / JOURNAL)
    once = {entry.cell: entry.made for entry in journal if entry.made is not None}
    last = {entry.cell: entry for entry in journal}
    wrong = {c.id: what_is_wrong(once[c.id], c.id, place) for c in cells if c.id in once}
    return Standing(
        cells=cells,
        place=place,
        made={cell: once[cell] for cell, found in wrong.items() if not found},
        failed_before={cell: entry.error for cell, entry in last.items() if entry.made is None},
        damaged={cell: found for cell, found in wrong.items() if found},
        journal=journal,
    )


def remove_damaged(standing: Standing, progress: Progress) -> None:
    """Takes away what is damaged of cells that were done, so that no stage finds it there."""
    store, names = Path(standing.place.store), {cell.id: cell.name for cell in standing.cells}
    for cell, found in standing.damaged.items():
        progress.line(f"made again, for {', '.join(found.values())}: {names[cell]}")
        standing.place.records_of(cell).unlink(missing_ok=True)
        for folder in found:
            if (store / folder).is_dir():
                discard(store / folder)
