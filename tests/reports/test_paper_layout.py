"""The paper's layout: a measured value only where all agrees, published ones as printed."""

from dataclasses import replace

import pytest

from dgprune.records import Entry
from reports.paper_layout import paper_sections
from reports.published_pruning import CRITERIA, FAMILIES, RATIOS, published_pruning
from reports.rows import tables
from reports.section import Section
from tests.fakes.many_records import many_entries


def section(entries: list[Entry]) -> Section:
    (found,) = paper_sections(tables(entries))
    return found


def row(found: Section, name: str) -> dict[str, str]:
    (line,) = (line for line in found.rows if line[0] == name)
    return dict(zip(found.header, line, strict=True))


def test_published_values_stand_where_they_are_known() -> None:
    found = section(many_entries(1))
    assert [line[0].split(",")[0].split()[0] for line in found.rows] == [
        family for family in FAMILIES for _ in CRITERIA
    ]
    assert row(found, "BEiT, hessian")["50 %, published"] == "94.23 %, -1.42, 1.81x"
    assert row(found, "DeiT, hessian")["50 %, published"] == "–, -1.72, 2.15x"
    assert row(found, "DeiT, hessian")["95 %, published"] == "54.41 %, -42.15, – *"
    assert row(found, "DeiT, random")["95 %, published"] == "64.13 %, –, – *"
    assert row(found, "DeiT, taylor")["95 %, published"] == "32.02 %, –, – *"
    assert row(found, "DeiT, random")["50 %, published"] == "–, -13.58, – *"
    assert row(found, "DeiT, l1")["75 %, published"] == "–"
    assert "arXiv 2504.04196" in found.title and "23x" in found.text


def test_office_home_has_no_published_cell() -> None:
    cells = [published_pruning("Office-Home", f, c, r)
             for f in FAMILIES for c in CRITERIA for r in RATIOS]  # fmt: skip
    assert set(cells) == {None}


def test_a_measured_value_names_model_and_input_and_says_what_it_is() -> None:
    found = section(many_entries(1))
    px = many_entries(1)[0].record.subject.origin.preprocessing.image_size
    line = row(found, f"ViT (vit_base_patch16_224 at {px} px), hessian")
    assert line["50 %, measured"] == "85.0 %, -5.0, 2.00x"
    assert line["50 %, published"] == "–, -2.94, 2.50x"
    assert all(line[0].startswith(("ViT (", "BEiT,", "DeiT,")) for line in found.rows)


def test_several_targets_are_averaged_and_only_where_all_are_there() -> None:
    entries = many_entries(380)
    px = entries[0].record.subject.origin.preprocessing.image_size
    name = f"ViT (vit_base_patch16_224 at {px} px), l1"
    assert row(section(entries), name)["75 %, measured"] == "78.0 %, -12.0, 4.00x (mean of 4)"
    part = [
        e
        for e in entries
        if (e.record.subject.label, e.record.subject.origin.target) != ("tp-l1-75", "photo")
    ]
    assert row(section(part), name)["75 %, measured"] == "missing 1 of 4"
    assert "(mean of 4)" in row(section(part), name)["50 %, measured"]


@pytest.mark.parametrize("engine", [None, "another"])
def test_files_of_another_engine_stand_in_no_cell_and_are_counted(engine: str | None) -> None:
    found = section(many_entries(1, engine=engine))
    assert all(set(line[2::2]) == {"–"} for line in found.rows)
    assert "15 file(s) of these models, criteria and ratios were pruned otherwise" in found.text


@pytest.mark.parametrize(
    "options", [{"data": "digits"}, {"model": "swin_tiny"}, {"model": "vitamin_small"}]
)
def test_other_data_and_other_families_have_no_layout(options: dict[str, str]) -> None:
    assert paper_sections(tables(many_entries(1, **options))) == []  # type: ignore[arg-type]


def test_a_part_of_the_data_set_is_not_the_data_set() -> None:
    entries = [
        replace(
            e,
            record=replace(
                e.record,
                subject=replace(
                    e.record.subject,
                    origin=replace(e.record.subject.origin, classes=("dog", "cat")),
                ),
            ),
        )
        for e in many_entries(1)
    ]
    assert paper_sections(tables(entries)) == []


def test_two_trainings_of_a_model_are_two_rows_and_not_one_average() -> None:
    def longer(entry: Entry) -> Entry:
        subject = entry.record.subject
        *steps, last = subject.lineage
        if last.spec.get("epochs") is None:
            return entry
        steps.append(replace(last, spec={**last.spec, "epochs": 9}))
        changed = replace(subject, lineage=tuple(steps), sha256=subject.sha256[::-1])
        return replace(entry, id=entry.id[::-1], record=replace(entry.record, subject=changed))

    entries = many_entries(1)
    more = [new for entry in entries if (new := longer(entry)) is not entry]
    names = [line[0] for line in section([*entries, *more]).rows if line[0].startswith("ViT")]
    assert len(names) == 10
    assert any("epochs 2" in name for name in names) and any("epochs 9" in n for n in names)
