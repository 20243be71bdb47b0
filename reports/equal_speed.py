"""At equal speed over targets and seeds: what each way of pruning keeps, and how far it is behind.

Within a target and seed each way shows the file that its user would ship, as in the table of one
target (`reports.budget_views`); here these files are averaged and set against the way with the
best validation.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from dgprune.errors import DgpruneError
from dgprune.missing import Missing
from dgprune.paired import Pairs, difference_interval, pairs_of
from dgprune.statistics import Interval, student_interval
from reports.accuracy_details import points_interval
from reports.budget_views import fast_enough, gain, measure, speeds_within
from reports.missing import fits
from reports.over_targets import group_of
from reports.recipe import made_by_recipe
from reports.rows import Row, Table
from reports.section import Section
from reports.setting import seed_of
from reports.summary import DASH, percent

_MOST_COLUMNS = 4

Place = tuple[str, str]  # target and seed


@dataclass(frozen=True, kw_only=True)
class Picked:
    """The files of one way that reach one speed, by target and seed."""

    targets: tuple[str, ...]
    files: dict[Place, tuple[Row, float]] = field(default_factory=dict)

    @property
    def seeds(self) -> tuple[str, ...]:
        """Those with a file for every target."""
        known = sorted({seed for _, seed in self.files})
        return tuple(s for s in known if all((t, s) in self.files for t in self.targets))

    def _of(self, seeds: Sequence[str]) -> list[tuple[Row, float]]:
        return [self.files[target, seed] for seed in seeds for target in self.targets]

    @property
    def accuracy(self) -> float:
        """Mean over targets and seeds of that on the unseen domain."""
        return fmean(row.unseen.record.accuracy for row, _ in self._of(self.seeds) if row.unseen)

    @property
    def speedup(self) -> float:
        """Mean over targets and seeds."""
        return fmean(found for _, found in self._of(self.seeds))

    @property
    def validation(self) -> float:
        """Mean over targets and seeds of that on the sources."""
        return fmean(row.source_accuracy or 0.0 for row, _ in self._of(self.seeds))

    def over(self, other: "Picked") -> Interval | None:
        """Mean accuracy minus that of `other`, on the seeds that both have.

        Limits are Student's t over seeds, each seed's mean over targets being one value; of one
        seed those of the paired bootstrap over images within each target. None where the two
        share no seed or saw other images.
        """
        seeds = [seed for seed in self.seeds if seed in other.seeds]
        try:
            by_seed = [
                [
                    _pairs(own, their)
                    for (own, _), (their, _) in zip(self._of([s]), other._of([s]), strict=True)
                ]
                for s in seeds
            ]
        except DgpruneError:
            return None
        if not by_seed:
            return None
        if len(by_seed) == 1:
            return difference_interval(by_seed[0])
        return student_interval([fmean(p.difference for p in pairs) for pairs in by_seed])


def _pairs(own: Row, other: Row) -> Pairs:
    assert own.unseen is not None and other.unseen is not None
    return pairs_of(own.unseen.record, other.unseen.record)


def equal_speed_sections(tables: Sequence[Table], missing: Sequence[Missing] = ()) -> list[Section]:
    """One for every model that was pruned in two ways and more on two targets or seeds and more.

    A target of which all is `missing` counts too: there is no average without it.
    """
    groups: dict[tuple[object, ...], list[Table]] = defaultdict(list)
    for table in tables:
        if table.dense is not None and table.dense.unseen is not None and table.setting.target:
            by = made_by_recipe(table.dense.subject)
            groups[(*group_of(table.dense), by.model, by.image_size, measure(table))].append(table)
    found = (_section(group, missing) for _, group in sorted(groups.items(), key=str))
    return [section for section in found if section is not None]


def _section(tables: Sequence[Table], missing: Sequence[Missing]) -> Section | None:
    rows = [(r, found, t) for t in tables for r in t.rows if (found := _usable(r, t)) is not None]
    ways = sorted({row.criterion for row, _, _ in rows})
    places = {(table.setting.target, seed_of(row.subject)) for row, _, table in rows}
    if len(ways) < 2 or len(places) < 2:
        return None
    speeds = speeds_within([found for _, found, _ in rows], _MOST_COLUMNS)
    targets = _asked(tables, rows[0][0], missing)
    columns = [_column(tables, targets, ways, speed) for speed in speeds]
    cells = [(way, *(_cell(way, column, places) for column in columns)) for way in ways]
    told = tuple(row for row in cells if set(row[1:]) != {DASH})
    if not told:
        return None
    by = made_by_recipe(rows[0][0].subject)
    return Section(
        title=f"At equal speed over targets and seeds: {by.model} at {by.image_size} px "
        f"({tables[0].form})",
        text=_text(tables, targets),
        header=("criterion", *(f"at least {speed:.3g}x" for speed in speeds)),
        rows=told,
    )


def _asked(tables: Sequence[Table], row: Row, missing: Sequence[Missing]) -> tuple[str, ...]:
    """Every target that was held out, or should have been, for the model of `row`."""
    by = made_by_recipe(row.subject)
    absent = {
        one.target
        for one in missing
        if fits(one, row.subject) and (one.model, one.image_size) == (by.model, by.image_size)
    }
    return tuple(sorted({table.setting.target for table in tables} | absent))


def _usable(row: Row, table: Table) -> float | None:
    """How fast a pruned file is whose unseen domain was measured."""
    if row.criterion == "dense" or row.unseen is None:
        return None
    return gain(row, table)


def _column(
    tables: Sequence[Table], targets: tuple[str, ...], ways: Sequence[str], speed: float
) -> dict[str, Picked]:
    found = {way: Picked(targets=targets) for way in ways}
    for table in tables:
        pick = fast_enough(table, speed)
        by_place: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for row in table.rows:
            if _usable(row, table) is not None:
                by_place[row.criterion, seed_of(row.subject)].append(row)
        for (way, seed), rows in by_place.items():
            best = pick(rows)
            if best is not None:
                place = (table.setting.target, seed)
                found[way].files[place] = (best, gain(best, table) or 0.0)
    return found


def _cell(way: str, column: dict[str, Picked], places: set[Place]) -> str:
    own = column[way]
    if not own.seeds:
        return DASH
    there = {name: picked for name, picked in column.items() if picked.seeds}
    best = max(there, key=lambda name: there[name].validation)
    text = f"{percent(own.accuracy)} at {own.speedup:.2f}x"
    if len({seed for _, seed in places}) > 1:
        text += f", {len(own.seeds)} seeds" if len(own.seeds) > 1 else ", 1 seed"
    if way == best:
        return text
    margin = own.over(column[best])
    if margin is None:
        return f"{text}; no seed or no images in common with {best}"
    return f"{text}; {points_interval(margin)}"


def _text(tables: Sequence[Table], targets: Sequence[str]) -> str:
    return (
        f"Accuracy on the unseen domain, averaged over {', '.join(targets)}, of the file that "
        f"within its target and seed has the best source validation among those that reach a "
        f"{measure(tables[0])}, and the mean of what it reached. Behind the semicolon: points over "
        "the way with the best validation in that column, on the same images and seeds, with 95 % "
        "limits: Student's t over seeds, or of one seed a paired bootstrap over images within each "
        "target. A dash: some target has no file that fast; a way with dashes alone is left out."
    )
