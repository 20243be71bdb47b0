"""The layout of the paper: model by criterion by ratio, published beside measured."""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from dgprune.lineage import chosen_by_oracle, spec_of
from dgprune.statistics import average
from reports.accuracy_details import missing_text, points
from reports.published_pruning import (
    CRITERIA,
    ENGINE,
    FAMILIES,
    LARGEST_SPEEDUP,
    RANKING,
    RATIOS,
    SOURCE,
    PublishedPruning,
    family_of,
    paper_data,
    published_pruning,
)
from reports.recipe import MadeBy, apart, dense_of, made_by_recipe
from reports.rows import Row, Table
from reports.section import Section
from reports.setting import seed_of
from reports.summary import DASH, percent

_Key = tuple[str, ...]
_Asked = tuple[str, float]  # criterion and ratio


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One measured model of a family, made one way but for the pruning: its files by cell."""

    family: str
    made_by: MadeBy
    cells: dict[_Asked, dict[tuple[str, str], tuple[Row, Table]]] = field(default_factory=dict)

    @property
    def asked(self) -> set[tuple[str, str]]:
        """Targets and seeds of all its files: what a cell must have to be averaged."""
        return {of for files in self.cells.values() for of in files}


def paper_sections(tables: Sequence[Table]) -> list[Section]:
    """A section a data set of the paper and runtime on which its criteria and ratios were tried."""
    groups: dict[_Key, list[tuple[Row, Table]]] = defaultdict(list)
    for table in tables:
        for row in table.rows:
            if _asked(row) is not None:
                groups[_group(row, table)].append((row, table))
    return [_section(key, group) for key, group in sorted(groups.items())]


def _asked(row: Row) -> _Asked | None:
    """Criterion and ratio of a file that the paper's layout has a place for, if only by name."""
    origin = row.subject.origin
    data = paper_data(origin.data_name, len(origin.classes))
    spec = spec_of(row.subject.lineage, "prune") or {}
    criterion, (kind, ratio) = spec.get("criterion"), row.budget
    if data is None or family_of(origin.model) is None or criterion not in CRITERIA:
        return None
    return (str(criterion), ratio) if kind == "ratio" and ratio in RATIOS else None


def _is_of_paper(row: Row) -> bool:
    """Whether it was pruned as the paper's files were: engine and ranking, and in one step."""
    spec = spec_of(row.subject.lineage, "prune") or {}
    pruned = [step for step in row.subject.lineage if step.stage == "prune"]
    same = spec.get("engine") == ENGINE and spec.get("ranking", RANKING) == RANKING
    return same and len(pruned) == 1 and "steps" not in spec


def _group(row: Row, table: Table) -> _Key:
    origin, runtime = row.subject.origin, table.runtime
    data = paper_data(origin.data_name, len(origin.classes))
    chosen = "oracle" if chosen_by_oracle(row.subject.lineage) else ""
    executed = (row.subject.format, row.subject.precision, runtime.name, runtime.provider)
    return (data or "", origin.data_digest, origin.protocol, chosen, *executed)


def _variants(group: Sequence[tuple[Row, Table]]) -> list[Variant]:
    found: dict[str, Variant] = {}
    for row, table in group:
        made, asked = _but_for_pruning(row), _asked(row)
        family = family_of(made.model)
        if asked is None or family is None:
            continue
        variant = found.setdefault(made.key, Variant(family=family, made_by=made))
        place = (row.subject.origin.target, seed_of(row.subject))
        variant.cells.setdefault(asked, {})[place] = (row, table)
    return sorted(found.values(), key=lambda v: (FAMILIES.index(v.family), v.made_by.model))


def _but_for_pruning(row: Row) -> MadeBy:
    made = made_by_recipe(row.subject)
    steps = tuple((stage, {} if stage == "prune" else spec) for stage, spec in made.steps)
    return MadeBy(model=made.model, image_size=made.image_size, label="", steps=steps)


def _section(key: _Key, group: Sequence[tuple[Row, Table]]) -> Section:
    data, _, protocol, chosen, format_, precision, runtime, provider = key
    fitting = [(row, table) for row, table in group if _is_of_paper(row)]
    variants = _variants(fitting)
    told = ", held-out images chose the epoch" if chosen else ""
    return Section(
        title=f"The layout of {SOURCE} on {data}: {protocol}{told} "
        f"({format_} {precision} on {runtime}, {provider})",
        text=_text(len(group) - len(fitting), variants),
        header=(
            "model and criterion",
            *(f"{100 * r:.0f} %, {kind}" for r in RATIOS for kind in ("published", "measured")),
        ),
        rows=tuple(
            (f"{name}, {criterion}", *_cells(data, family, criterion, variant))
            for family in FAMILIES
            for name, variant in _named(family, variants)
            for criterion in CRITERIA
        ),
    )


def _text(others: int, variants: Sequence[Variant]) -> str:
    found = (
        "Cells: accuracy, change from dense in points, speedup; a dash is not known, or was not "
        f"measured. Published: {SOURCE}, Base-size models; split, training and clock are not "
        "known. A star: the data set is not named where the number is printed, and taken to be "
        f"PACS. Up to {LARGEST_SPEEDUP:g}x is printed for 95 %, of no named model. Measured: files "
        f"that {ENGINE} pruned with {RANKING} ranking, of the model and input that the row names; "
        "accuracy on held-out images, speedup at the smallest batch."
    )
    if any(len(variant.asked) > 1 for variant in variants):
        found += (
            " Over several held-out domains and seeds: the mean, of speedups the geometric one, "
            "and only where every one of them is there."
        )
    if others:
        found += (
            f" {others} file(s) of these models, criteria and ratios were pruned otherwise "
            "(engine, ranking or steps) and stand in no cell."
        )
    return found


def _named(family: str, variants: Sequence[Variant]) -> list[tuple[str, Variant | None]]:
    ours = [variant for variant in variants if variant.family == family]
    if not ours:
        return [(family, None)]
    told = apart([variant.made_by for variant in ours])
    names = []
    for variant, text in zip(ours, told, strict=True):
        made = variant.made_by
        more = f"; {text}" if text else ""
        names.append((f"{family} ({made.model} at {made.image_size} px{more})", variant))
    return list(names)


def _cells(data: str, family: str, criterion: str, variant: Variant | None) -> list[str]:
    found = []
    for ratio in RATIOS:
        found.append(_published(published_pruning(data, family, criterion, ratio)))
        found.append(_measured(variant, (criterion, ratio)))
    return found


def _published(cell: PublishedPruning | None) -> str:
    """The cell with the digits that are printed."""
    if cell is None:
        return DASH
    accuracy = DASH if cell.accuracy is None else f"{100 * cell.accuracy:.2f} %"
    change = DASH if cell.change is None else f"{100 * cell.change:+.2f}"
    star = "" if cell.names_data else " *"
    return f"{accuracy}, {change}, {_times(cell.speedup)}{star}"


def _times(speedup: float | None) -> str:
    return DASH if speedup is None else f"{speedup:.2f}x"


def _measured(variant: Variant | None, asked: _Asked) -> str:
    files = variant.cells.get(asked, {}) if variant else {}
    if variant is None or not files:
        return DASH
    if len(files) < len(variant.asked):
        return missing_text(len(variant.asked) - len(files), len(variant.asked))
    found = [files[of] for of in sorted(files)]
    seen = [row.held_out.accuracy if row.held_out else None for row, _ in found]
    change = average([_change(row, table) for row, table in found]).mean
    speedup = _times(_speedup([row for row, _ in found]))
    told = f"{percent(average(seen).mean)}, {points(change)}, {speedup}"
    return told if len(found) == 1 else f"{told} (mean of {len(found)})"


def _change(row: Row, table: Table) -> float | None:
    dense = dense_of(row, table)
    if dense is None or dense.held_out is None or row.held_out is None:
        return None
    return row.held_out.accuracy - dense.held_out.accuracy


def _speedup(rows: Sequence[Row]) -> float | None:
    sizes = set.intersection(*(set(row.speed) for row in rows))
    if not sizes:
        return None
    return statistics.geometric_mean(row.speed[min(sizes)].interval.estimate for row in rows)
