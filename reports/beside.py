"""The files beside the page: data tables, LaTeX tables, model cards."""

from reports.cards.card import card_text
from reports.cards.subject import cards_of
from reports.data.accuracy_table import accuracy_table
from reports.data.columns import DataTable
from reports.data.csv_text import csv_text
from reports.data.dictionary import dictionary_text
from reports.data.facts import Facts, facts_of
from reports.data.files_table import files_table
from reports.data.latency_table import latency_table
from reports.data.parquet import parquet_bytes
from reports.latex.main_table import main_section
from reports.latex.tabular import latex_text
from reports.material import Material
from reports.over_targets_section import over_targets_sections
from reports.paper_layout import paper_sections

TABLES, CARDS = "tables", "cards"


def files_beside(material: Material, *, parquet: bool) -> dict[str, bytes]:
    """Every file beside the page by its name in the report's folder; `parquet` where it can be."""
    facts = facts_of(material.entries, material.tables)
    data = data_tables(facts)
    texts = {f"{table.name}.csv": csv_text(table) for table in data}
    texts |= {"README.md": dictionary_text(data)} | _latex(material)
    found = {f"{TABLES}/{name}": text.encode() for name, text in texts.items()}
    if parquet:
        found |= {f"{TABLES}/{table.name}.parquet": parquet_bytes(table) for table in data}
    cards = cards_of(facts)
    return found | {f"{CARDS}/{name}": card_text(card).encode() for name, card in cards.items()}


def data_tables(facts: Facts) -> tuple[DataTable, ...]:
    """The tables for a program."""
    return (files_table(facts), accuracy_table(facts), latency_table(facts))


def _latex(material: Material) -> dict[str, str]:
    """One file a kind of table; none where there is no such table."""
    kinds = {
        "files": [main_section(table) for table in material.tables],
        "over-targets": over_targets_sections(material.tables, material.missing),
        "paper-layout": paper_sections(material.tables),
    }
    return {f"{name}.tex": latex_text(found, name) for name, found in kinds.items() if found}
