"""Pages from tables: HTML that needs nothing but itself, and Markdown for a repository."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from markupsafe import Markup

from dgprune import __version__
from dgprune.records import Entry
from dgprune.schema import digest, encode
from dgprune.structure import Structure
from reports.accuracy_details import spread_cells, spread_names, spread_text, unseen_section
from reports.attribution import Attribution, attribution_section, attributions
from reports.budget_views import BudgetViews, budget_views
from reports.charts.charts import charts
from reports.charts.pictures import Pictures
from reports.charts.theme import config
from reports.claim import Claim, claims, refusals
from reports.equal_speed import equal_speed_sections
from reports.front_page import FrontPage, front_page
from reports.history_page import HistoryPage
from reports.latency_details import details, milliseconds
from reports.listing import Listing
from reports.machine import machine_text
from reports.material import Material
from reports.measured_files import measured_files, short_ids
from reports.missing import missing_notes
from reports.over_targets_section import over_targets_sections
from reports.paper_layout import paper_sections
from reports.recipe import row_name
from reports.rows import Row, Table
from reports.section import Section
from reports.setting import by_section
from reports.summary import DASH, percent, sentences, warnings
from reports.templating import templates
from reports.times import between, judged, limits
from reports.where_time_goes import time_sections

_BRIEF_ABOVE = 1000  # files: a page of 10,000 records is to stay under 5 MB


@dataclass(frozen=True, kw_only=True)
class Page:
    """One experiment, ready to print; `picture` is None where there is nothing to draw.

    `kept_in` is the number of the first experiment of which the same files kept the same.
    """

    table: Table
    sentences: list[str]
    warnings: list[str]
    picture: str | None
    views: BudgetViews | None
    dense_latency: dict[int, float | None]
    unseen: Section | None
    sections: list[Section]
    kept_in: int


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A report, ready to print: its experiments, and what is told beside them.

    In a `brief` one the page leaves the details of each file to tables, cards and charts.
    """

    entries: Sequence[Entry]
    pages: list[Page]
    beside: Listing
    missing: list[str]
    histories: Sequence[HistoryPage]
    front: FrontPage
    claims: list[Claim]
    refusals: list[str]
    overviews: list[Section]
    attributed: dict[str, list[Attribution]]
    sections: list[Section]
    environment: list[str]
    ids: dict[str, str]
    brief: bool


def whole(material: Material, histories: Sequence[HistoryPage], beside: Listing) -> Whole:
    """The report of `material`, with the files that lie beside it."""
    entries, tables = material.entries, material.tables
    attributed = {name: attributions(group) for name, group in by_section(entries).items()}
    found = [attribution_section(group, name) for name, group in attributed.items()]
    return Whole(
        entries=entries,
        pages=pages(tables),
        histories=histories,
        front=front_page(tables, entries),
        claims=claims(entries),
        refusals=refusals(entries),
        beside=beside,
        missing=missing_notes(material.missing),
        overviews=[
            *over_targets_sections(tables, material.missing),
            *equal_speed_sections(tables, material.missing),
            *paper_sections(tables),
        ],
        attributed=attributed,
        sections=[*(section for section in found if section), *time_sections(entries)],
        environment=environment_lines(entries),
        ids=short_ids(entries),
        brief=sum(len(table.rows) for table in tables) > _BRIEF_ABOVE,
    )


def pages(tables: Sequence[Table]) -> list[Page]:
    """A page a table."""
    kept: dict[str, int] = {}
    return [
        Page(
            table=table,
            sentences=sentences(table),
            warnings=warnings(table),
            picture=picture_of(table, number),
            views=budget_views(table),
            dense_latency=_dense_latency(table),
            unseen=unseen_section(table),
            sections=[section] if (section := details(table)) else [],
            kept_in=kept.setdefault(_kept(table), number),
        )
        for number, table in enumerate(tables, 1)
    ]


def picture_of(table: Table, number: int) -> str | None:
    """The name of the picture of an experiment; None without a speed or what was held out."""
    drawn = table.batch_sizes and any(row.held_out is not None for row in table.rows)
    return f"accuracy-speedup-{number}.png" if drawn else None


def html(made: Whole, pictures: Pictures) -> str:
    """The self-contained page; text from records is escaped.

    The script of `pictures` is asked for last, when all else is ready.
    """
    return _render(
        "report.html.j2",
        made,
        autoescape=True,
        charts=charts([page.table for page in made.pages], made.entries, made.attributed),
        chart_config=config(),
        files=measured_files(made.entries),
        chart_script=Markup(pictures.script),  # noqa: S704 - the library's own
    )


def markdown(made: Whole) -> str:
    """The same tables for a repository."""
    return _render("report.md.j2", made, autoescape=False)


def _render(template: str, made: Whole, *, autoescape: bool, **beside: object) -> str:
    jinja = templates(autoescape=autoescape)
    jinja.filters.update(
        percent=percent,
        budget=budget,
        millions=lambda count: f"{count / 1e6:.1f} M",
        thousands=lambda count: f"{count / 1e3:.0f} k",
        milliseconds=milliseconds,
        speedup=judged,
        limits=limits,
        between=between,
        blocks=blocks,
        record_ids=record_ids,
        spread_of=spread_cells,
        spread_names=spread_names,
        spread_text=spread_text,
        name_in=row_name,
        short=made.ids.__getitem__,
    )
    told = {field.name: getattr(made, field.name) for field in fields(made)}
    return jinja.get_template(template).render(told, version=__version__, **beside)


def _kept(table: Table) -> str:
    """All that is told of what was kept: a file in another precision says the same again."""
    structures = ((row_name(row, table), row.subject.structure) for row in table.rows)
    return digest([[name, encode(structure)] for name, structure in structures])


def _dense_latency(table: Table) -> dict[int, float | None]:
    """Latency of dense at each batch size, as timed beside the first pruned row."""
    found: dict[int, float | None] = dict.fromkeys(table.batch_sizes)
    for row in table.rows:
        for size, cell in row.speed.items():
            if found[size] is None:
                found[size] = cell.baseline_latency_s
    return found


def budget(row: Row) -> str:
    """What pruning had to meet, such as ratio 50 %; a dash for the dense model."""
    return row.budget_text or DASH


def blocks(structure: Structure) -> str:
    """Every block's heads, head dimension and MLP units; what is equal in all is told once."""
    heads = [f"{b.num_heads}x{b.head_dim}" for b in structure.blocks]
    hidden = [str(b.mlp_hidden) for b in structure.blocks]
    if len(set(heads)) > 1:
        return "; ".join(f"{of}, {units}" for of, units in zip(heads, hidden, strict=True))
    several = len(set(hidden)) > 1
    return f"{len(heads)} times {heads[0]}, {'MLP ' if several else ''}" + (
        ", ".join(hidden) if several else hidden[0]
    )


def record_ids(row: Row) -> str:
    """Ids of the row's records: the accuracy on what was held out first, then the speedups."""
    ids = row.held_out.record_ids if row.held_out else ()
    return " ".join(f"`{i[:8]}`" for i in [*ids, *(cell.record_id for cell in row.speed.values())])


def environment_lines(entries: Sequence[Entry]) -> list[str]:
    """Each different environment among the records, on one line."""
    return list(dict.fromkeys(machine_text(entry.record.environment) for entry in entries))
