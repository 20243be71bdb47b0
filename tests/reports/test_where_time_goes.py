"""Profiles in the report: a section of their own, and no effect on any other number."""

from dataclasses import replace
from pathlib import Path

import pytest

from dgprune.kind_table import cells, kind_rows
from dgprune.node_times import NodeTime
from dgprune.records import LatencyRecord, ProfileRecord, append_records, read_records
from reports.report import report
from reports.rows import tables
from tests.conftest import TinyChain


def node(kind: str, *durations_ns: int) -> NodeTime:
    return NodeTime(name=kind, op="MatMul", kind=kind, durations_ns=durations_ns)  # type: ignore[arg-type]


@pytest.fixture
def profile_record(chain: TinyChain) -> ProfileRecord:
    timed = [e.record for e in read_records(chain.records) if isinstance(e.record, LatencyRecord)]
    record = timed[-1]
    assert record.proof is not None and record.baseline is not None
    return ProfileRecord(
        subject=record.subject,
        baseline=record.baseline,
        runtime=record.runtime,
        batch_size=1,
        calls=3,
        inputs_sha256=record.inputs_sha256,
        nodes=(node("mlp", 1_000_000, 9_000_000, 1_000_000), node("attention", 2_000_000)),
        baseline_nodes=(node("mlp", 4_000_000), node("attention", 3_000_000)),
        environment=record.environment,
        proof=record.proof,
        baseline_proof=record.baseline_proof,
    )


def with_profile(chain: TinyChain, record: ProfileRecord, file: Path) -> Path:
    file.write_text(chain.records.read_text())
    append_records(file, "cell", [record])
    return file


def test_the_rows_are_medians_summed_by_kind(profile_record: ProfileRecord) -> None:
    assert [cells(row) for row in kind_rows(profile_record)] == [
        ["attention", "3.000 ms", "43 %", "2.000 ms", "67 %", "1.000 ms", "25 %"],
        ["mlp", "4.000 ms", "57 %", "1.000 ms", "33 %", "3.000 ms", "75 %"],
        ["sum", "7.000 ms", "100 %", "3.000 ms", "100 %", "4.000 ms", "100 %"],
    ]


def test_a_profile_has_a_section_and_changes_no_table(
    chain: TinyChain, tmp_path: Path, profile_record: ProfileRecord
) -> None:
    file = with_profile(chain, profile_record, tmp_path / "r.jsonl")
    assert tables(read_records(file)) == tables(read_records(chain.records))
    folder = report([file], tmp_path / "out").path.parent
    markdown = (folder / "report.md").read_text()
    assert "## Where the time goes: taylor-50" in markdown.replace("\\", "")
    assert "| mlp | 4.000 ms | 57 % | 1.000 ms | 33 % | 3.000 ms | 75 % |" in markdown
    page = (folder / "report.html").read_text()
    identity = read_records(file)[-1].id
    assert f"From record {identity}." in page and f"<tr id=r-{identity[:8]}>" in page
    assert "<td>mlp<td>4.000 ms<td>" in page


def test_a_report_without_profiles_has_no_such_section(chain: TinyChain, tmp_path: Path) -> None:
    folder = report([chain.records], tmp_path / "out").path.parent
    assert "Where the time goes:" not in (folder / "report.md").read_text()
    assert "Where the time goes:" not in (folder / "report.html").read_text()


def test_profiles_alone_make_a_report(tmp_path: Path, profile_record: ProfileRecord) -> None:
    file = tmp_path / "r.jsonl"
    append_records(file, "cell", [replace(profile_record, baseline=None, baseline_nodes=())])
    folder = report([file], tmp_path / "out").path.parent
    assert "| kind | taylor-50 | share |" in (folder / "report.md").read_text()


def test_a_label_cannot_bring_markup_into_the_section(
    chain: TinyChain, tmp_path: Path, profile_record: ProfileRecord
) -> None:
    evil = replace(profile_record.subject, label="<script>|evil")
    file = with_profile(chain, replace(profile_record, subject=evil), tmp_path / "r.jsonl")
    folder = report([file], tmp_path / "out").path.parent
    assert "<script>" not in (folder / "report.html").read_text()
    assert "<script>" not in (folder / "report.md").read_text()
