"""The report: same records, same bytes; every number in a record; hostile text harmless."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from dgprune import cli
from dgprune.errors import DgpruneError
from dgprune.records import AccuracyRecord, LatencyRecord, Record, append_records, read_records
from dgprune.statistics import Verdict
from reports.escaping import escape_markdown
from reports.measured_files import short_ids
from reports.report import report
from reports.rows import tables
from reports.summary import percent, sentences, warnings
from tests.conftest import TinyChain
from tests.fakes.sweep_files import Sweep
from tests.fakes.sweeps import as_entries, sweep_records, write_records

EVIL = "<script>alert(1)</script>"


class Outline(HTMLParser):
    """Ids, link targets, tags and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {key: value or "" for key, value in attrs}
        self.tags.append(tag)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if tag == "a" else []
        self.sources += [found[key] for key in ("src", "href", "xlink:href") if key in found]


@pytest.fixture(scope="module")
def folder(chain: TinyChain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "out"
    return report([chain.records], out).path.parent


def test_the_same_records_give_the_same_bytes(
    chain: TinyChain, folder: Path, tmp_path: Path
) -> None:
    again = report([chain.records], tmp_path / "again").path.parent
    names = files_in(folder)
    assert names == files_in(again)
    for name in names:
        assert (folder / name).read_bytes() == (again / name).read_bytes(), name


def files_in(folder: Path) -> set[str]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix() for path in paths}


def test_the_page_needs_nothing_but_itself(folder: Path) -> None:
    page = Outline((folder / "report.html").read_text())
    beside = {"cards/", *files_in(folder)}  # to open or to save, not part of the page
    assert all(s.startswith(("#", "data:")) for s in page.sources if s not in beside)
    assert "link" in page.tags  # the icon, empty, so that no browser asks a server for one
    assert "figure" in page.tags


def test_every_link_leads_to_a_record_of_the_file(chain: TinyChain, folder: Path) -> None:
    page = Outline((folder / "report.html").read_text())
    known = {f"r-{short}" for short in short_ids(read_records(chain.records)).values()}
    assert known <= set(page.ids)
    targets = {link.removeprefix("#") for link in page.links}
    assert targets <= {"cards/", *page.ids, *files_in(folder)}
    assert known <= targets


def test_a_page_of_very_many_files_leaves_their_details_to_tables_and_cards(
    chain: TinyChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reports.render._BRIEF_ABOVE", 1)
    folder = report([chain.records], tmp_path / "out").path.parent
    text = (folder / "report.html").read_text()
    assert "Accuracy in detail" not in text and "the page stops here" in text
    assert "Accuracy in detail" in (folder / "report.md").read_text()
    page = Outline(text)
    known = {f"r-{short}" for short in short_ids(read_records(chain.records)).values()}
    assert known <= set(page.ids)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)


def test_the_numbers_printed_equal_the_records(chain: TinyChain, folder: Path) -> None:
    text = (folder / "report.md").read_text()
    page = (folder / "report.html").read_text()
    entries = read_records(chain.records)
    for entry in entries:
        if isinstance(entry.record, AccuracyRecord):
            shown = re.search(rf"#r-{short_ids(entries)[entry.id]}>([^<]+)<", page)
            assert shown is not None
            assert shown.group(1) == percent(entry.record.accuracy)
            assert percent(entry.record.accuracy) in text
    for row in tables(read_records(chain.records))[0].rows:
        for cell in row.speed.values():
            assert f"{cell.interval.estimate:.2f}x" in text
            assert f"{cell.interval.estimate:.2f}x" in page


def test_the_report_keeps_its_records(chain: TinyChain, folder: Path) -> None:
    assert (folder / "records.jsonl").read_text() == chain.records.read_text()


def test_a_report_is_made_once_and_renewed_with_new_records(
    chain: TinyChain, tmp_path: Path
) -> None:
    records, out = tmp_path / "r.jsonl", tmp_path / "out"
    shutil.copy(chain.records, records)
    assert report([records], out).fresh
    assert not report([records], out).fresh
    (out / "mine.txt").write_text("a note")
    entry = read_records(records)[0]
    assert isinstance(entry.record, AccuracyRecord)
    append_records(records, "another", [replace(entry.record, domain="domain9")])
    assert report([records], out).fresh
    assert "domain9" in (out / "report.md").read_text()
    assert (out / "mine.txt").read_text() == "a note"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "r.jsonl"]


def test_a_report_that_other_code_drew_is_drawn_again(
    chain: TinyChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report([chain.records], tmp_path / "out")
    monkeypatch.setattr("reports.folder._code", lambda: "an older state")
    assert report([chain.records], tmp_path / "out").fresh


def test_control_and_rows_are_told_apart(chain: TinyChain) -> None:
    (table,) = tables(read_records(chain.records))
    assert [row.subject.label for row in table.rows] == ["dense", "taylor-50"]
    assert [cell.record.batch_size for cell in table.controls] == [1]
    assert list(table.rows[1].speed) == [1]
    assert table.missing == 0


def without(records: Path, out: Path, drop: type[Record]) -> Path:
    for entry in read_records(records):
        if not isinstance(entry.record, drop):
            append_records(out, entry.cell, [entry.record])
    return out


def test_accuracy_without_speed_and_the_reverse_do_not_break(
    chain: TinyChain, tmp_path: Path
) -> None:
    for number, kind in enumerate((LatencyRecord, AccuracyRecord)):
        records = without(chain.records, tmp_path / f"{number}.jsonl", kind)
        page = report([records], tmp_path / f"out{number}").path
        assert page.stat().st_size > 1000


def test_missing_cells_are_counted_and_print_as_a_dash(chain: TinyChain, tmp_path: Path) -> None:
    entries = read_records(chain.records)
    dropped = entries[1]
    kept = [entry for entry in entries if entry is not dropped]
    (table,) = tables(kept)
    assert table.missing == 1
    assert any("1 cell(s)" in line for line in warnings(table))
    for entry in kept:
        append_records(tmp_path / "r.jsonl", entry.cell, [entry.record])
    assert (
        "–"
        in (report([tmp_path / "r.jsonl"], tmp_path / "out").path.parent / "report.md").read_text()
    )


def test_text_from_records_is_escaped(chain: TinyChain, tmp_path: Path) -> None:
    for entry in read_records(chain.records):
        record = entry.record
        origin = replace(record.subject.origin, model=EVIL, data_name="=1+1|`x`", target=EVIL)
        changed: Record = replace(
            record, subject=replace(record.subject, label=EVIL, origin=origin)
        )
        if isinstance(changed, AccuracyRecord) and changed.role == "target":
            changed = replace(changed, domain=EVIL)
        append_records(tmp_path / "r.jsonl", entry.cell, [changed])
    out = report([tmp_path / "r.jsonl"], tmp_path / "out").path.parent
    page = (out / "report.html").read_text()
    assert EVIL not in page
    outline = Outline(page)
    assert outline.tags.count("script") == outline.tags.count("figure") + 3  # ours, none of theirs
    assert EVIL not in (out / "report.md").read_text()


def test_markdown_text_cannot_open_a_cell_or_a_tag() -> None:
    assert escape_markdown("a|b<i>*x*\n") == "a\\|b&lt;i&gt;\\*x\\* "


def test_the_file_named_in_words_is_chosen_by_source_validation(chain: TinyChain) -> None:
    (table,) = tables(read_records(chain.records))
    text = " ".join(sentences(table))
    assert "on the unseen domain domain2" in text
    assert "batch 1, 95 % interval" in text


def test_words_say_in_which_precision_both_arms_are(chain: TinyChain, tmp_path: Path) -> None:
    def lower(record: Record) -> Record:
        found = replace(record, subject=replace(record.subject, precision="int8"))
        if isinstance(found, LatencyRecord) and found.baseline is not None:
            return replace(found, baseline=replace(found.baseline, precision="int8"))
        return found

    (plain,) = tables(read_records(chain.records))
    assert not any("fp32" in line for line in sentences(plain))
    (table,) = tables(read_records(changed(chain, tmp_path / "r.jsonl", lower)))
    first, *others = sentences(table)
    assert first.startswith("Dense in int8 reaches ")
    assert others and all("x over dense in int8 on " in line for line in others)


def test_words_over_several_seeds_set_a_file_beside_dense_of_its_own_seed() -> None:
    published = Path(__file__).parents[2] / "reports" / "published" / "deit-tiny-three-seeds"
    found = tables(read_records(published / "records.jsonl"))
    text = next(" ".join(sentences(t)) for t in found if "cartoon held out" in t.title and t.dense)
    assert "Dense (seed 0) reaches 68.4 %" in text
    assert "fisher isomorphic (seed 1) has the best source validation" in text
    assert "keeps 68.6 % (dense of that seed 69.4 %) on cartoon" in text


def test_a_folder_of_something_else_and_an_empty_file_are_refused(
    chain: TinyChain, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.docx").write_text("mine")
    with pytest.raises(DgpruneError, match="holds something else"):
        report([chain.records], tmp_path / "other")
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(DgpruneError, match="no record in it"):
        report([tmp_path / "empty.jsonl"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_summary_is_json(chain: TinyChain, tmp_path: Path) -> None:
    done = report([chain.records], tmp_path / "out")
    assert json.loads(json.dumps(done.summary)) == done.summary


def test_an_edited_page_is_made_again(chain: TinyChain, tmp_path: Path) -> None:
    page = report([chain.records], tmp_path / "out").path
    text = page.read_text()
    page.write_text(text.replace("%", "percent"))
    assert report([chain.records], tmp_path / "out").fresh
    assert page.read_text() == text


def changed(chain: TinyChain, out: Path, change: Callable[[Record], Record]) -> Path:
    for entry in read_records(chain.records):
        append_records(out, entry.cell, [change(entry.record)])
    return out


def test_a_speedup_over_another_file_than_dense_is_left_out(
    chain: TinyChain, tmp_path: Path
) -> None:
    def change(record: Record) -> Record:
        if isinstance(record, LatencyRecord) and record.subject.label != "dense":
            return replace(record, baseline=replace(record.subject, sha256="f" * 64))
        return record

    (table,) = tables(read_records(changed(chain, tmp_path / "r.jsonl", change)))
    assert not any(row.speed for row in table.rows)
    assert any("1 record(s) over another baseline" in line for line in warnings(table))


def test_speedups_of_two_machines_are_not_put_in_one_table(
    chain: TinyChain, tmp_path: Path
) -> None:
    def change(record: Record) -> Record:
        if isinstance(record, LatencyRecord):
            return replace(record, environment=replace(record.environment, cpu="another"))
        return record

    both = changed(chain, tmp_path / "r.jsonl", change)
    with pytest.raises(DgpruneError, match="one environment, differing in cpu; report them apart"):
        report([chain.records, both], tmp_path / "out")


def test_a_failed_control_takes_the_verdicts_away(chain: TinyChain, tmp_path: Path) -> None:
    def change(record: Record) -> Record:
        if isinstance(record, LatencyRecord) and record.subject.label == "dense":
            (replica,) = record.replicas
            blocks = tuple(
                replace(b, durations_ns=tuple(2 * ns for ns in b.durations_ns))
                if b.arm == "baseline"
                else b
                for b in replica.blocks
            )
            return replace(record, replicas=(replace(replica, blocks=blocks),))
        return record

    records = changed(chain, tmp_path / "r.jsonl", change)
    (table,) = tables(read_records(records))
    (row,) = (row for row in table.rows if row.speed)
    assert row.speed[1].verdict is Verdict.INCONCLUSIVE
    assert any("A/A control failed" in line and "no verdict" in line for line in warnings(table))
    page = report([records], tmp_path / "out").path
    assert "inconclusive" in page.read_text()


def test_without_a_control_nothing_is_faster(chain: TinyChain, tmp_path: Path) -> None:
    kept = tmp_path / "r.jsonl"
    for entry in read_records(chain.records):
        if not (isinstance(entry.record, LatencyRecord) and entry.record.is_control):
            append_records(kept, entry.cell, [entry.record])
    (table,) = tables(read_records(kept))
    (row,) = (row for row in table.rows if row.speed)
    assert row.speed[1].verdict is Verdict.INCONCLUSIVE and not table.controls
    assert "Of 1 speedups, 1: no A/A control, so no verdict." in warnings(table)
    folder = report([kept], tmp_path / "out").path.parent
    (card,) = (folder / "cards").glob("taylor-50-*.md")
    for path in (folder / "report.html", folder / "report.md", card):
        text = path.read_text().replace("\\", "")
        assert "no A/A control, so no verdict" in text, path
    told = [folder / "report.html", folder / "tables" / "latency.csv", card]
    assert all("inconclusive" in path.read_text() for path in told)


def test_a_speedup_that_is_not_faster_stands_nowhere_without_its_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = sweep_records(Sweep(criteria=("l1",), ratios=(0.5,), batches=(1,), control=False))
    records, out = write_records(tmp_path / "r.jsonl", found), tmp_path / "out"
    assert cli._exit_code(["report", str(records), "--out", str(out)]) == 0
    cell = r"2\.\d\dx \[2\.\d\d, 2\.\d\d\] \(inconclusive\)"
    markdown = (out / "report.md").read_text().replace("\\", "")
    texts = [markdown, capsys.readouterr().err]
    texts.append((out / "tables" / "files.tex").read_text().replace("{[}", "[").replace("{]}", "]"))
    for text in texts:
        assert re.search(cell, text), text
    assert re.search(r"95 % interval 2\.\d\d to 2\.\d\d \(inconclusive\)\.", markdown)
    sure = sweep_records(Sweep(criteria=("l1",), ratios=(0.5,), batches=(1,)))
    (table,) = tables(as_entries(sure))
    assert "(" not in sentences(table)[-1].split("95 % interval")[1]


def test_a_model_pruned_by_a_plan_has_a_row(chain: TinyChain, tmp_path: Path) -> None:
    def change(record: Record) -> Record:
        steps = tuple(
            replace(step, spec={"plan": "abc"}) if step.stage == "prune" else step
            for step in record.subject.lineage
        )
        return replace(record, subject=replace(record.subject, lineage=steps))

    page = report([changed(chain, tmp_path / "r.jsonl", change)], tmp_path / "out").path
    assert "plan" in page.read_text()


@pytest.mark.parametrize(
    ("spec", "criterion", "budget"),
    [
        ({"criterion": "l1", "ranking": "global", "ratio": 0.5}, "l1", "ratio 50 %"),
        ({"criterion": "fisher", "ranking": "local", "macs": 0.44}, "fisher local", "macs 44 %"),
        ({"plan": "ab", "criterion": "fisher", "speedup": 2.5}, "fisher", "speedup 2.5x"),
        ({"plan": "ab"}, "plan", "plan"),
        (
            {"criterion": "l2", "engine": "torch-pruning", "ratio": 0.75},
            "torch-pruning l2",
            "ratio 75 %",
        ),
        (
            {"criterion": "l2", "drop_dependency": "residual", "steps": 3, "ratio": 0.5},
            "l2 with a missed edge in 3 steps",
            "ratio 50 %",
        ),
        (
            {"criterion": "l2", "steps": 3, "step": 3, "macs": 0.5},
            "l2 in 3 steps",
            "macs 50 %",
        ),
        (
            {"criterion": "l2", "steps": 3, "step": 2, "macs": 0.6},
            "l2 after 2 of 3 steps",
            "macs 60 %",
        ),
    ],
)
def test_rows_that_were_pruned_otherwise_are_named_otherwise(
    chain: TinyChain, tmp_path: Path, spec: dict[str, object], criterion: str, budget: str
) -> None:
    def change(record: Record) -> Record:
        if record.subject.label == "dense":
            return record
        steps = tuple(
            replace(step, spec=spec) if step.stage == "prune" else step
            for step in record.subject.lineage
        )
        return replace(record, subject=replace(record.subject, lineage=steps))

    (table,) = tables(read_records(changed(chain, tmp_path / "r.jsonl", change)))
    (row,) = (row for row in table.rows if row.criterion != "dense")
    assert (row.criterion, row.budget_text) == (criterion, budget)
    assert any(f"At {budget}, {criterion} keeps" in line for line in sentences(table))


def test_a_leftover_of_a_killed_run_is_not_published(chain: TinyChain, tmp_path: Path) -> None:
    report([chain.records], tmp_path / "out")
    (tmp_path / "out" / ".new").mkdir()
    (tmp_path / "out" / ".new" / "report.md").write_text("stale")
    entry = read_records(chain.records)[0]
    assert isinstance(entry.record, AccuracyRecord)
    more = tmp_path / "more.jsonl"
    append_records(more, "another", [replace(entry.record, domain="domain9")])
    report([chain.records, more], tmp_path / "out")
    assert "domain9" in (tmp_path / "out" / "report.md").read_text()
    assert not (tmp_path / "out" / ".new").exists()


def test_files_of_two_runtimes_stand_in_two_tables(chain: TinyChain, tmp_path: Path) -> None:
    def elsewhere(record: Record) -> Record:
        return replace(record, runtime=replace(record.runtime, name="openvino"))

    other = changed(chain, tmp_path / "other", elsewhere)
    entries = [*read_records(chain.records), *read_records(other)]
    found = tables(entries)
    assert [table.title.split(" (")[1] for table in found] == [
        "onnx fp32 on onnxruntime, cpu)",
        "onnx fp32 on openvino, cpu)",
    ]
    assert len(found[0].rows) == len(found[1].rows) == 2


def test_an_allowed_fallback_is_told(chain: TinyChain, tmp_path: Path) -> None:
    def fallen(record: Record) -> Record:
        assert record.proof is not None
        return replace(record, proof=replace(record.proof, fallbacks=("asked fp16, but ran fp32",)))

    (table,) = tables(read_records(changed(chain, tmp_path / "r", fallen)))
    told = [line for line in warnings(table) if line.startswith("Allowed to fall back")]
    assert "Allowed to fall back: taylor-50: asked fp16, but ran fp32." in told
    page = report([tmp_path / "r"], tmp_path / "out").path
    assert "asked fp16, but ran fp32" in page.read_text()
    (plain,) = tables(read_records(chain.records))
    assert not any("fall back" in line for line in warnings(plain))


def test_a_permission_that_was_not_needed_changes_nothing(chain: TinyChain, tmp_path: Path) -> None:
    def permitted(record: Record) -> Record:
        return replace(record, runtime=replace(record.runtime, allow_fallback=True))

    other = changed(chain, tmp_path / "other", permitted)
    (table,) = tables([*read_records(chain.records), *read_records(other)])
    assert len(table.rows) == 2
