"""Protocols and oracle selection stand apart in reports, and no claim is made of an oracle."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.cells import LatencySpec
from benchmark.latency import bench
from dgprune import cli
from dgprune.errors import DgpruneError
from dgprune.lineage import LineageStep, chosen_by_oracle
from dgprune.records import (
    AccuracyRecord,
    Entry,
    LatencyRecord,
    Record,
    Subject,
    append_records,
    read_records,
)
from reports.claim import claims, refusals
from reports.measured_files import short_ids
from reports.report import report
from reports.rows import Table, tables
from reports.summary import percent, sentences, warnings
from reports.verify import VerifySpec, verify
from tests.conftest import TinyChain
from tests.reports.test_claim import claimed


def in_domain(record: Record) -> list[Record]:
    """The records that the paper-like protocol would have left, of a record with a target."""

    def moved(subject: Subject) -> Subject:
        origin = replace(subject.origin, target="", split_digest="1" * 64)
        return replace(subject, origin=origin, sha256=f"{subject.sha256[:-1]}p")

    made = replace(record, subject=moved(record.subject))
    if isinstance(made, LatencyRecord):
        return [replace(made, baseline=moved(made.baseline) if made.baseline else None)]
    assert isinstance(made, AccuracyRecord)
    return [replace(made, role="source-val"), replace(made, role="test")]


@pytest.fixture(scope="module")
def paper_like(chain: TinyChain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("paper-like") / "records.jsonl"
    for entry in read_records(chain.records):
        append_records(path, entry.cell, in_domain(entry.record))
    return path


def as_oracle(subject: Subject, key: str = "selection") -> Subject:
    """The same file, as if what was held out had chosen its weights."""
    lineage = tuple(
        replace(step, spec={**step.spec, key: "oracle"}) if step.stage == "finetune" else step
        for step in subject.lineage
    )
    return replace(
        subject, lineage=lineage, label=f"{subject.label}-oracle", sha256=subject.sha256[::-1]
    )


def oracle_of(record: Record) -> Record:
    if isinstance(record, LatencyRecord) and record.baseline is not None:
        baseline = as_oracle(record.baseline)
        return replace(record, subject=as_oracle(record.subject), baseline=baseline)
    return replace(record, subject=as_oracle(record.subject))


def written(path: Path, entries: list[Entry], change: Callable[[Record], Record]) -> Path:
    for entry in entries:
        append_records(path, entry.cell, [change(entry.record)])
    return path


@pytest.fixture(scope="module")
def all_settings(
    chain: TinyChain, paper_like: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """Records of both protocols, and of each with an oracle."""
    root = tmp_path_factory.mktemp("settings")
    files = [chain.records, paper_like]
    for number, file in enumerate(list(files)):
        made = written(root / f"{number}.jsonl", read_records(file), oracle_of)
        files.append(made)
    return files


@pytest.fixture(scope="module")
def found(all_settings: list[Path]) -> tuple[Table, ...]:
    return tables([entry for file in all_settings for entry in read_records(file)])


def test_every_setting_has_a_table_of_its_own(found: tuple[Table, ...]) -> None:
    assert [(t.setting.target, t.setting.oracle) for t in found] == [
        ("domain2", False),
        ("", False),
        ("", True),
        ("domain2", True),
    ]
    titles = [table.title for table in found]
    assert "domain2 held out" in titles[0] and "oracle" not in titles[0]
    assert titles[1].startswith("Paper-like split: ") and "20 % of every domain" in titles[1]
    assert titles[3].startswith("Under oracle selection (the unseen domain chose the epoch): ")
    for table in found:
        assert len(table.rows) == 2 and table.missing == 0 and table.dense is not None
        assert {chosen_by_oracle(row.subject.lineage) for row in table.rows} == {
            table.setting.oracle
        }


def test_the_page_prints_no_two_settings_in_one_table(
    all_settings: list[Path], tmp_path: Path
) -> None:
    out = report(all_settings, tmp_path / "out").path.parent
    page = (out / "report.html").read_text()
    heads = re.findall(r"<thead>(.*?)</thead>", page, flags=re.DOTALL)
    for head in heads:
        assert not ("domain2" in head and "in-domain" in head), head
        assert not ("unseen" in head and ("(test)" in head or "chose" in head)), head
    assert sum("unseen domain2" in head for head in heads) == 1
    assert sum("in-domain test images<" in head for head in heads) == 1
    for chooser in ("domain2", "in-domain test images"):
        assert sum(f"{chooser}, which chose the epoch" in head for head in heads) == 1
    text = (out / "report.md").read_text()
    assert text.index("domain2 held out") < text.index("Paper-like") < text.index("oracle sel")
    titles = [line for line in text.splitlines() if "here the speedup comes from" in line]
    assert len(titles) == len(set(titles)) == 4
    assert verify(VerifySpec(path=out)).exit_code == 0


def test_paper_like_never_says_unseen(paper_like: Path, tmp_path: Path) -> None:
    out = report([paper_like], tmp_path / "out").path.parent
    shown = re.sub(r"<style>.*?</style>", "", (out / "report.html").read_text(), flags=re.DOTALL)
    for text in (re.sub(r"<[^>]*>", " ", shown), (out / "report.md").read_text()):
        assert "unseen" not in text.lower() and "source validation" not in text
        assert "in-domain test images" in text
        assert "nothing here tells how a file does on a new one" in " ".join(text.split())
    (table,) = tables(read_records(paper_like))
    assert any("% on in-domain test images (" in line for line in sentences(table))
    assert table.domains == table.validated == ("domain0", "domain1", "domain2")


def test_in_domain_accuracy_is_of_all_test_images(paper_like: Path, tmp_path: Path) -> None:
    entries = read_records(paper_like)
    (table,) = tables(entries)
    for row in table.rows:
        tested = [
            e.record
            for e in entries
            if isinstance(e.record, AccuracyRecord)
            and e.record.role == "test"
            and e.record.subject.sha256 == row.subject.sha256
        ]
        assert row.held_out is not None and len(row.held_out.record_ids) == len(tested) == 3
        share = sum(r.correct for r in tested) / sum(r.images for r in tested)
        assert row.held_out.accuracy == pytest.approx(share)
        assert row.held_out.interval.low <= share <= row.held_out.interval.high
    page = report([paper_like], tmp_path / "out").path.read_text()
    ids = {f"r-{short}" for short in short_ids(entries).values()}
    assert set(re.findall(r"href=#(r-[0-9a-f]+)>", page)) == ids


def test_a_missing_domain_leaves_no_accuracy_that_is_of_fewer(paper_like: Path) -> None:
    entries = read_records(paper_like)
    (table,) = tables(entries)
    sha256 = table.rows[1].subject.sha256
    dropped = next(
        e
        for e in entries
        if isinstance(e.record, AccuracyRecord)
        and e.record.role == "test"
        and e.record.subject.sha256 == sha256
    )
    (less,) = tables([entry for entry in entries if entry is not dropped])
    assert less.missing == 1
    assert less.rows[1].held_out is None and less.rows[0].held_out is not None


def test_a_terminal_names_the_column_by_the_setting(
    all_settings: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(path) for path in all_settings]
    out = str(tmp_path / "out")
    assert cli._exit_code(["report", *files, "--out", out, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    keys = [key for rows in summary.values() if isinstance(rows, list) for key in rows[0]]
    for key in ("unseen_accuracy", "in_domain_test_accuracy", "oracle_accuracy"):
        assert keys.count(key) == (2 if key == "oracle_accuracy" else 1)
    assert cli._exit_code(["report", *files, "--out", out]) == 0
    told = capsys.readouterr().err
    assert all(text in told for text in ("unseen", "in-domain", "oracle"))


@pytest.mark.parametrize("key", ["selection", "teacher_selection"])
def test_one_step_of_an_oracle_is_enough(chain: TinyChain, key: str) -> None:
    subject = read_records(chain.records)[0].record.subject
    assert not chosen_by_oracle(subject.lineage)
    assert chosen_by_oracle(as_oracle(subject, key).lineage)
    later = LineageStep(stage="prune", digest="0", spec={"criterion": "l1"})
    assert chosen_by_oracle((*as_oracle(subject, key).lineage, later))


def test_an_oracle_is_never_beside_its_honest_baseline(chain: TinyChain, tmp_path: Path) -> None:
    """Only the pruned file was chosen by an oracle: no dense row may stand beside its speedup."""

    def only_pruned(record: Record) -> Record:
        dense = record.subject.label == "dense"
        return record if dense else replace(record, subject=as_oracle(record.subject))

    entries = read_records(written(tmp_path / "r", read_records(chain.records), only_pruned))
    plain, oracle = tables(entries)
    assert [row.subject.label for row in plain.rows] == ["dense"]
    assert [row.subject.label for row in oracle.rows] == ["taylor-50-oracle"]
    assert oracle.rows[0].speed == {} and oracle.other_baselines == 1
    assert any("no claim may rest on it" in line for line in warnings(oracle))
    assert not any("oracle" in line for line in [*sentences(plain), *warnings(plain)])


def test_no_claim_is_made_of_an_oracle(chain: TinyChain, tmp_path: Path) -> None:
    file = written(
        tmp_path / "r.jsonl", read_records(chain.records), lambda r: oracle_of(claimed(r))
    )
    assert claims(read_records(file)) == []
    (told,) = refusals(read_records(file))
    assert "was chosen by the unseen domain (oracle selection)" in told
    out = report([file], tmp_path / "out").path.parent
    assert not list(out.glob("claim-*.json"))
    assert "No claim" in (out / "report.md").read_text()


def test_no_claim_mixes_splits(chain: TinyChain, tmp_path: Path) -> None:
    def mixed(record: Record) -> Record:
        made = claimed(record)
        if record.subject.label == "dense":
            return made
        origin = replace(made.subject.origin, split_digest="0" * 64)
        return replace(made, subject=replace(made.subject, origin=origin))

    file = written(tmp_path / "r.jsonl", read_records(chain.records), mixed)
    assert claims(read_records(file)) == []
    assert "the arms were made under different splits" in refusals(read_records(file))[0]


def test_a_claim_of_the_paper_like_split_says_so(paper_like: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "r.jsonl", read_records(paper_like), claimed)
    (claim,) = claims(read_records(file))
    assert "on in-domain test images (paper-like split), dense" in claim.statement
    assert "unseen" not in claim.statement and claim.target == ""
    (row,) = [
        row
        for row in tables(read_records(file))[0].rows
        if row.subject.label == claim.candidate.label
    ]
    assert row.held_out is not None
    assert tuple(claim.candidate.accuracy_record.split("+")) == row.held_out.record_ids
    shown = percent(claim.candidate.correct / claim.candidate.images)
    assert percent(row.held_out.accuracy) == shown and f"reaches {shown} on" in claim.statement
    out = report([file], tmp_path / "out").path.parent
    (path,) = out.glob("claim-*.json")
    assert "verified" in verify(VerifySpec(path=path)).summary
    lines = (out / "records.jsonl").read_text().splitlines(keepends=True)
    fewer = [line for line in lines if claim.baseline.accuracy_record.split("+")[0] not in line]
    (out / "records.jsonl").write_text("".join(fewer))
    assert (
        "not measured on the same domains" in verify(VerifySpec(path=path)).summary["not_verified"]
    )


def test_bench_refuses_to_measure_a_claim_of_an_oracle(
    chain: TinyChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "r.jsonl"
    file.write_text(chain.records.read_text())
    asked = LatencySpec(
        artefact=str(chain.pruned_artefact),
        baseline=str(chain.dense_artefact),
        data=chain.data,
        tier="claim",
    )
    monkeypatch.setattr("dgprune.judgement.chosen_by_oracle", lambda lineage: True)
    with pytest.raises(DgpruneError, match="was chosen by the unseen domain .* backs no claim"):
        bench(asked, file)
