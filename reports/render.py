"""Pages from tables: HTML that needs nothing but itself, and Markdown for a repository."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from dgprune import __version__
from dgprune.records import AccuracyRecord, Entry, ProfileRecord, Subject
from dgprune.statistics import Interval
from dgprune.structure import Structure
from reports.accuracy_details import spread_cells, spread_names, spread_text, unseen_section
from reports.attribution import attribution_section
from reports.budget_views import BudgetViews, budget_views
from reports.charts.charts import charts
from reports.charts.draw import script
from reports.charts.theme import config
from reports.claim import claims, refusals
from reports.front_page import front_page
from reports.history_page import HistoryPage
from reports.latency_details import details, milliseconds
from reports.listing import Listing
from reports.machine import machine_text
from reports.material import Material
from reports.missing import missing_notes
from reports.over_targets_section import over_targets_sections
from reports.paper_layout import paper_sections
from reports.recipe import row_name
from reports.rows import Row, Table
from reports.section import Section
from reports.setting import by_section
from reports.summary import DASH, percent, sentences, warnings
from reports.templating import templates
from reports.where_time_goes import profile_title, time_sections


@dataclass(frozen=True, kw_only=True)
class Page:
    """One experiment, ready to print; `picture` is None where there is nothing to draw."""

    table: Table
    sentences: list[str]
    warnings: list[str]
    picture: str | None
    views: BudgetViews | None
    dense_latency: dict[int, float | None]
    unseen: Section | None
    sections: list[Section]


def pages(tables: Sequence[Table]) -> list[Page]:
    """A page a table."""
    return [
        Page(
            table=table,
            sentences=sentences(table),
            warnings=warnings(table),
            picture=f"accuracy-speedup-{number}.png" if table.batch_sizes else None,
            views=budget_views(table),
            dense_latency=_dense_latency(table),
            unseen=unseen_section(table),
            sections=[section] if (section := details(table)) else [],
        )
        for number, table in enumerate(tables, 1)
    ]


def html(
    made: Sequence[Page],
    material: Material,
    histories: Sequence[HistoryPage],
    beside: Listing,
) -> str:
    """The self-contained page; text from records is escaped."""
    return _render("report.html.j2", made, material, histories, beside, autoescape=True)


def markdown(
    made: Sequence[Page],
    material: Material,
    histories: Sequence[HistoryPage],
    beside: Listing,
) -> str:
    """The same tables for a repository."""
    return _render("report.md.j2", made, material, histories, beside, autoescape=False)


def _render(
    template: str,
    made: Sequence[Page],
    material: Material,
    histories: Sequence[HistoryPage],
    beside: Listing,
    *,
    autoescape: bool,
) -> str:
    jinja = templates(autoescape=autoescape)
    jinja.filters.update(
        percent=percent,
        budget=budget,
        millions=lambda count: f"{count / 1e6:.1f} M",
        thousands=lambda count: f"{count / 1e3:.0f} k",
        milliseconds=milliseconds,
        speedup=speedup,
        blocks=blocks,
        record_ids=record_ids,
        spread_of=spread_cells,
        spread_names=spread_names,
        spread_text=spread_text,
        name_in=row_name,
        what=what,
        made_by=made_by,
    )
    text = jinja.get_template(template)
    entries, tables = material.entries, material.tables
    return text.render(
        pages=made,
        front=front_page(tables, entries),
        charts=charts(tables, entries) if autoescape else [],
        chart_config=config(),
        chart_script=Markup(script()) if autoescape else "",  # noqa: S704 - the library's own
        entries=entries,
        claims=claims(entries),
        refusals=refusals(entries),
        beside=beside,
        overviews=[*over_targets_sections(tables, material.missing), *paper_sections(tables)],
        missing=missing_notes(material.missing),
        sections=sections_of(entries),
        histories=histories,
        environment=environment_lines(entries),
        version=__version__,
    )


def sections_of(entries: Sequence[Entry]) -> list[Section]:
    """What is told beside the tables of experiments."""
    attributed = [attribution_section(group, name) for name, group in by_section(entries).items()]
    return [*(section for section in attributed if section), *time_sections(entries)]


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


def speedup(interval: Interval) -> str:
    """A speedup with its interval."""
    return f"{interval.estimate:.2f}x [{interval.low:.2f}, {interval.high:.2f}]"


def blocks(structure: Structure) -> str:
    """Every block's heads, head dimension and MLP units; equal neighbours are counted."""
    texts = [f"{b.num_heads}x{b.head_dim}, {b.mlp_hidden}" for b in structure.blocks]
    if len(set(texts)) == 1:
        return f"{len(texts)} times {texts[0]}"
    return "; ".join(texts)


def record_ids(row: Row) -> str:
    """Ids of the row's records: the accuracy on what was held out first, then the speedups."""
    ids = row.held_out.record_ids if row.held_out else ()
    return " ".join(f"`{i[:8]}`" for i in [*ids, *(cell.record_id for cell in row.speed.values())])


def what(entry: Entry) -> str:
    """What a record measured, in a few words."""
    record = entry.record
    if isinstance(record, AccuracyRecord):
        skipped = f", {record.skipped} skipped" if record.skipped else ""
        return (
            f"accuracy of {record.subject.label} on {record.domain} ({record.role}): "
            f"{record.correct} of {record.images}{skipped}"
        )
    if isinstance(record, ProfileRecord):
        return f"{record.calls} calls node by node of {profile_title(record)}"
    against = f" against {record.baseline.label}" if record.baseline else ""
    samples = sum(len(block.durations_ns) for block in record.blocks)
    return (
        f"latency of {record.subject.label}{against}, batch {record.batch_size}: {samples} samples"
    )


def made_by(subject: Subject) -> str:
    """Every stage from the first weights to the file, with its digest."""
    return " → ".join(f"{step.stage} {step.digest[:8]}" for step in subject.lineage)


def environment_lines(entries: Sequence[Entry]) -> list[str]:
    """Each different environment among the records, on one line."""
    return list(dict.fromkeys(machine_text(entry.record.environment) for entry in entries))
