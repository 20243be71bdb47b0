"""The report in words: what was found, and what a reader must know before believing it."""

from collections import Counter

from dgprune.judgement import has_limits, noise_floor
from dgprune.statistics import Interval
from reports.machine import runtime_text
from reports.rows import Row, Table
from reports.section import DASH as DASH
from reports.setting import seed_of
from reports.times import between, mark

ONE_SEED = (
    "One training seed a row: differences of a few points between rows are inside the spread "
    "between seeds."
)


def percent(share: float | None) -> str:
    """A share as per cent with one decimal; a dash where there is none."""
    return DASH if share is None else f"{100 * share:.1f} %"


def sentences(table: Table) -> list[str]:
    """What the table says, a sentence a ratio.

    The file named is the one with the best validation: choosing it by what was held out would be
    choosing with the answer in hand.
    """
    found = []
    dense = table.dense
    setting = table.setting
    if dense is not None and dense.held_out is not None:
        found.append(
            f"Dense{_lower(dense)}{_seed(dense, table)} reaches "
            f"{percent(dense.held_out.accuracy)} on {setting.phrase} "
            f"({percent(dense.source_accuracy)} on {setting.validation}) "
            f"with {dense.cost.macs_per_image / 1e6:.1f} million multiply-accumulates an image."
        )
    for budget in sorted({row.budget for row in table.rows if row.criterion != "dense"}):
        rows = [row for row in table.rows if row.budget == budget and row.held_out and row.speed]
        if rows:
            found.append(_best_of(rows, table))
    return found


def _best_of(rows: list[Row], table: Table) -> str:
    setting = table.setting
    validated = [row for row in rows if row.source_accuracy is not None]
    best = max(validated or rows, key=lambda row: row.source_accuracy or 0.0)
    assert best.held_out is not None
    size = min(best.speed)
    cell = best.speed[size]
    chosen = f"{best.criterion}{_seed(best, table)}"
    if len(rows) > 1:
        chosen += _why_it(len(rows), len(validated), setting.validation)
    over = f" over dense{_lower(best)}" if _lower(best) else ""
    return (
        f"At {best.budget_text}{_lower(best)}, {chosen} "
        f"keeps {percent(best.held_out.accuracy)}{_dense_of_seed(best, table)} "
        f"on {setting.target or setting.phrase} at {cell.interval.estimate:.2f}x{over} "
        f"on {runtime_text(cell.record)}, batch {size}, "
        f"{_between(cell.interval)}{mark(cell.verdict.value)}."
    )


def _between(interval: Interval) -> str:
    if not has_limits(interval):
        return "without an interval"
    return f"95 % interval {between(interval)}"


def _why_it(rows: int, validated: int, validation: str) -> str:
    """Why this file is named of `rows`: by validation where it was measured, else by no merit."""
    if not validated:
        return f", the first of {rows} files without {validation},"
    if validated == 1:
        return f", the only one of {rows} files with {validation},"
    of = "" if validated == rows else f" of the {validated} of {rows} files that have one"
    return f" has the best {validation}{of} and"


def _seed(row: Row, table: Table) -> str:
    """The training seed, where the table has dense models of several."""
    return f" (seed {seed_of(row.subject)})" if len(table.dense_by_seed) > 1 else ""


def _dense_of_seed(row: Row, table: Table) -> str:
    """What the dense model of the same seed reaches, where the table has several seeds."""
    dense = table.dense_by_seed.get(seed_of(row.subject), [])
    if len(table.dense_by_seed) == 1 or len(dense) != 1 or dense[0].held_out is None:
        return ""
    return f" (dense of that seed {percent(dense[0].held_out.accuracy)})"


def _lower(row: Row) -> str:
    """The precision of a file where it is not the usual one: dense has the same."""
    precision = row.subject.precision
    return "" if precision == "fp32" else f" in {precision}"


def warnings(table: Table) -> list[str]:
    """Everything that limits what the table may be used for."""
    found = table.setting.warnings()
    if table.missing:
        found.append(
            f"{table.missing} cell(s) of this table were not measured and print as a dash."
        )
    if table.dense is None:
        found.append("There is no dense row: speedups have no accuracy to stand beside.")
    untrained = [row.subject.label for row in table.rows if not row.is_trained]
    if untrained:
        found.append(
            f"Never trained on this data, so no claim may rest on it: {', '.join(untrained)}."
        )
    for row in table.rows:
        for text in row.fallbacks:
            found.append(f"Allowed to fall back: {row.subject.label}: {text}.")
    cells = [cell for row in table.rows for cell in row.speed.values()]
    told: dict[str, int] = Counter(text for cell in cells for text in cell.doubts)
    found += [f"Of {len(cells)} speedups, {n}: {text}." for text, n in told.items()]
    for size, far in _noise_floors(table).items():
        found.append(
            f"Noise floor at batch {size}: dense against itself came out within {percent(far)} "
            "of 1."
        )
    if table.other_baselines:
        found.append(f"{table.other_baselines} record(s) over another baseline are left out.")
    return [*found, ONE_SEED]


def _noise_floors(table: Table) -> dict[int, float]:
    """The farthest limit of the controls, by batch size: there is one a dense file."""
    found: dict[int, float] = {}
    for control in table.controls:
        far, size = noise_floor(control.record), control.record.batch_size
        if far is not None:
            found[size] = max(far, found.get(size, far))
    return found
