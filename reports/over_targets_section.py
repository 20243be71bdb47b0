"""The tables over targets and seeds, for a page and for a terminal."""

from collections.abc import Sequence

from dgprune.missing import Missing
from dgprune.schema import Json
from dgprune.statistics import Average, Interval
from reports.accuracy_details import missing_text, points_interval
from reports.over_targets import Grid, Line, grids
from reports.published_accuracy import Published, plain
from reports.rows import Table
from reports.section import Section
from reports.summary import DASH, percent

OVER_TARGETS = "over targets and seeds"


def over_targets_sections(
    tables: Sequence[Table], missing: Sequence[Missing] = ()
) -> list[Section]:
    """A table a data set and runtime, published numbers beside it where there are some."""
    return [_section(grid) for grid in grids(tables, missing)]


def _section(grid: Grid) -> Section:
    return Section(
        title=grid.title,
        text=_text(grid),
        header=(
            "recipe",
            *grid.targets,
            average_header(grid),
            *(("95 % over seeds",) if grid.seeds > 1 else ()),
            "worst target",
            "over dense, points",
            *(("over dense in fp32, points",) if grid.beside_fp32 else ()),
        ),
        rows=(
            *(_cells(line, grid) for line in grid.lines),
            *(_published_cells(row, grid) for row in grid.published),
        ),
    )


def average_header(grid: Grid) -> str:
    """Of how many targets the average is."""
    known = len(grid.targets)
    return f"average of {known}" + ("" if known == grid.domains else f" of {grid.domains} targets")


def _text(grid: Grid) -> str:
    """How to read it; what is missing, first of all."""
    lacking = f"Missing: {grid.missing} of {grid.asked} files"
    counted = lacking if grid.missing else "Nothing missing"
    spread = (
        f"mean and standard deviation over {grid.seeds} seeds; limits are Student's t over seeds, "
        "each seed's mean over targets being one value"
        if grid.seeds > 1
        else "one seed: limits are those of a paired bootstrap over images, within each target, "
        "and say nothing of other seeds"
    )
    found = (
        f"{counted}: an average is printed only where every target and seed is there. Accuracy on "
        f"the domain held out, {spread}."
    )
    if grid.beside_fp32:
        found += (
            " Over dense is against dense in the same precision, what pruning costs; over dense in "
            "fp32 is what precision and pruning cost together, on the same runtime."
        )
    if grid.published:
        found += (
            " Published rows are other models, inputs and training budgets, leave-one-domain-out "
            "with source validation; their average is always over all four targets."
        )
    if grid.alone:
        found += f" {grid.alone} recipe(s) tried with one target and seed count as none missing."
    if grid.replaced:
        found += f" {grid.replaced} file(s) of the same recipe and seed gave way to a newer one."
    return found


def _cells(line: Line, grid: Grid) -> tuple[str, ...]:
    overall, worst = line.over_targets, line.worst_target
    interval = overall.interval
    told = missing_text(line.missing, line.asked)
    return (
        line.name,
        *(_on_target(line, target) for target in grid.targets),
        DASH if line.alone else told if line.missing else _cell(overall),
        *((_limits(interval),) if grid.seeds > 1 else ()),
        f"{worst[0]} {percent(worst[1])}" if worst else DASH,
        _over(line.over_dense),
        *((_over(line.over_fp32),) if grid.beside_fp32 else ()),
    )


def _over(interval: Interval | None) -> str:
    return DASH if interval is None else points_interval(interval)


def _on_target(line: Line, target: str) -> str:
    if not line.alone:
        return _cell(line.over_seeds(target))
    found = [m.accuracy for (name, _), m in line.files.items() if name == target]
    return percent(found[0]) if found else DASH


def _cell(seen: Average) -> str:
    return _told(_numbers(seen))


def _limits(interval: Interval | None) -> str:
    if interval is None:
        return DASH
    low, high = max(0.0, interval.low), min(1.0, interval.high)  # two seeds reach beyond
    return f"[{100 * low:.1f}, {100 * high:.1f}]"


def _published_cells(row: Published, grid: Grid) -> tuple[str, ...]:
    known = {plain(target): accuracy for target, accuracy in row.by_target.items()}
    cells = [known.get(plain(target)) for target in grid.targets]
    worst = min(known.items(), key=lambda pair: pair[1], default=None)
    whole = len(grid.targets) == grid.domains
    return (
        row.text,
        *map(percent, cells),
        percent(row.average) + ("" if whole else " (of all 4)"),
        *((DASH,) if grid.seeds > 1 else ()),
        f"{worst[0]} {percent(worst[1])}" if worst else DASH,
        *([DASH] * (1 + grid.beside_fp32)),
    )


def over_targets_summary(tables: Sequence[Table], missing: Sequence[Missing] = ()) -> list[Json]:
    """The same tables for `--json` and a terminal; None stands for what is missing."""
    return [
        {
            "title": grid.title,
            "average": average_header(grid),
            "rows": [
                {
                    "recipe": line.name,
                    "targets": {t: _numbers(line.over_seeds(t)) for t in grid.targets},
                    "average": _numbers(line.over_targets),
                    "missing": line.missing,
                    "asked": line.asked,
                }
                for line in grid.lines
            ],
        }
        for grid in grids(tables, missing)
    ]


def _numbers(seen: Average) -> Json:
    return {"mean": seen.mean, "sd": seen.spread, "missing": seen.missing, "asked": seen.asked}


def terminal_cells(row: Json) -> list[str]:
    """A row of that summary: its accuracies, or how many are missing."""
    cells = [_told(cell) for cell in row["targets"].values()]
    average = _told(row["average"])
    if row["missing"]:
        average = missing_text(row["missing"], row["asked"])
    return [row["recipe"], *cells, average]


def _told(cell: Json) -> str:
    if cell["mean"] is None:
        return missing_text(cell["missing"], cell["asked"])
    if cell["sd"] is None:
        return percent(cell["mean"])
    return f"{100 * cell['mean']:.1f} ± {100 * cell['sd']:.1f} %"
