"""Rows of tables as charts name them: experiment, runtime, precision, criterion, ranking, file."""

from collections.abc import Sequence
from dataclasses import dataclass

from dgprune.judgement import has_limits
from dgprune.lineage import spec_of
from dgprune.schema import Json
from reports.charts.chart import select
from reports.recipe import row_name, steps_of
from reports.rows import Row, Table
from reports.speed import SpeedCell


@dataclass(frozen=True, kw_only=True)
class Placed:
    """One row, and what filters tell it by.

    `experiment` counts models, data and settings; `number` counts tables, `place` rows of all.
    """

    experiment: int
    number: int
    place: int
    row: Row
    table: Table
    file: str
    runtime: str
    precision: str
    criterion: str
    ranking: str

    @property
    def variant(self) -> str:
        """What executes the file, in one line."""
        return f"{self.precision} on {self.runtime}"

    @property
    def dense(self) -> Row | None:
        """The dense row of its table."""
        return self.table.dense


@dataclass(frozen=True, kw_only=True)
class Experiments:
    """Every row of every table; `titles` are those of the experiments, in order."""

    titles: tuple[str, ...]
    rows: tuple[Placed, ...]


def experiment_list(found: Experiments, drawn: Sequence[Placed], first: int | None = None) -> Json:
    """The drop-down list that picks one of the experiments that are drawn."""
    numbers = sorted({placed.experiment for placed in drawn})
    titles = [found.titles[n] for n in numbers]
    return select("experiment", "experiment", numbers, titles, first)


def table_list(drawn: Sequence[Placed]) -> Json:
    """The drop-down list that picks one of the tables that are drawn."""
    titles = {placed.number: placed.table.title for placed in drawn}
    return select("table", "experiment", list(titles), list(titles.values()))


def speed_of(cell: SpeedCell) -> tuple[float | None, float | None, float | None]:
    """A speedup and its limits; of a single round there are none, and nothing to draw."""
    i = cell.interval
    if not has_limits(i):
        return (i.estimate, None, None)
    return (i.estimate, i.low, i.high)


IN_EXPERIMENT: Json = {"filter": "datum.e === experiment"}
IN_TABLE: Json = {"filter": "datum.t === table"}


def experiments(tables: Sequence[Table]) -> Experiments:
    """Tables that differ in format, precision and runtime only are one experiment."""
    titles: dict[str, int] = {}
    rows: list[Placed] = []
    for number, table in enumerate(tables):
        experiment = titles.setdefault(_title(table), len(titles))
        start = len(rows)
        rows += [
            _placed(experiment, number, place, row, table)
            for place, row in enumerate(table.rows, start)
        ]
    return Experiments(titles=tuple(titles), rows=tuple(rows))


def _title(table: Table) -> str:
    origin, setting = table.rows[0].subject.origin, table.setting
    title = (
        f"{origin.model} at {origin.preprocessing.image_size} px on {origin.data_name}, "
        f"{setting.held_out}"
    )
    return f"{setting.section}: {title}" if setting.section else title


def _placed(experiment: int, number: int, place: int, row: Row, table: Table) -> Placed:
    spec = spec_of(row.subject.lineage, "prune")
    return Placed(
        experiment=experiment,
        number=number,
        place=place,
        row=row,
        table=table,
        file=row_name(row, table),
        runtime=f"{table.runtime.name}, {table.runtime.provider}",
        precision=table.form,
        criterion="dense" if spec is None else str(spec.get("criterion", "plan")),
        ranking="dense" if spec is None else _ranking(spec),
    )


def _ranking(spec: Json) -> str:
    """How it was pruned beside the criterion: ranking, engine, steps, ablations."""
    parts = (
        str(spec.get("ranking", "global")),
        f"by {spec['engine']}" if "engine" in spec else "",
        steps_of(spec),
        "with a missed edge" if "drop_dependency" in spec else "",
        "with its scale reset" if "scale_attention" in spec else "",
    )
    return " ".join(part for part in parts if part)
