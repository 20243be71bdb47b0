"""Lines that say what is missing: beside the records, passed over where records are read."""

import json
from pathlib import Path

import pytest

from dgprune.errors import DgpruneError
from dgprune.missing import SCHEMA, missing_line, read_all
from dgprune.records import append_records, open_records, read_records
from dgprune.schema import canonical_json, seal, unseal
from dgprune.store import append_lines
from tests.fakes.missing import missing

FIXTURES = Path(__file__).parent / "fixtures"
FIXTURE = FIXTURES / "records-schema-4.jsonl"
ONE = missing("l1-global-50", "a", 0, criterion="l1", ranking="global", ratio=0.5)


def test_schema_4_loads_for_ever() -> None:
    entries, absent = read_all(FIXTURE)
    assert [entry.record for entry in entries] == [
        entry.record for entry in read_records(FIXTURES / "records-schema-3.jsonl")[:2]
    ]
    assert [(one.label, one.target, one.seed, one.ratio) for one in absent] == [
        ("fails-global-50", "domain1", 0, 0.5),
        ("dense", "domain2", 1, None),
    ]
    assert absent[0].reason == "it fails on purpose; leave it out"
    assert (absent[0].like is None, absent[1].like is None) == (True, False)
    assert read_records(FIXTURE) == entries


def test_they_come_back_as_they_were_and_are_no_records(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    append_lines(file, [missing_line(ONE)])
    assert read_all(file) == ([], [ONE])
    assert read_records(file) == []
    assert open_records(file) == []  # they are ours, so that something may be appended
    (entry, *_) = read_records(FIXTURE)
    append_records(file, entry.cell, [entry.record])
    assert [e.record for e in open_records(file)] == [entry.record]
    assert read_all(file)[1] == [ONE]


def test_records_beside_them_keep_the_schema_that_older_versions_read(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    (entry, *_) = read_records(FIXTURE)
    append_records(file, entry.cell, [entry.record])
    append_lines(file, [missing_line(ONE)])
    record, line = (json.loads(text) for text in file.read_text().splitlines())
    assert unseal(record, 3, where="here", older=(1, 2))["schema"] == 3
    with pytest.raises(DgpruneError, match=r"has schema 4.*install the version that wrote it"):
        unseal(line, 3, where="here", older=(1, 2))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"reason": "it never failed"}, "was edited"),
        ({"schema": 9}, "has schema 9.*reads schema 4"),
    ],
)
def test_an_edited_line_is_found_by_every_reader(
    tmp_path: Path, changes: dict[str, object], says: str
) -> None:
    file = tmp_path / "records.jsonl"
    append_lines(file, [json.dumps(json.loads(missing_line(ONE)) | changes)])
    for read in (read_records, open_records, read_all):
        with pytest.raises(DgpruneError, match=rf"jsonl:1 .*{says}"):
            read(file)


@pytest.mark.parametrize(
    ("fixture", "schema"), [("records-schema-3.jsonl", 4), ("records-schema-4.jsonl", 3)]
)
def test_a_kind_belongs_to_its_schema(tmp_path: Path, fixture: str, schema: int) -> None:
    line = (FIXTURES / fixture).read_text().splitlines()[-1]
    body = {key: value for key, value in json.loads(line).items() if key != "id"}
    assert body["schema"] == (SCHEMA if schema == 3 else 3)
    (tmp_path / "r.jsonl").write_text(canonical_json(seal(body | {"schema": schema})) + "\n")
    with pytest.raises(DgpruneError, match="is of unknown kind"):
        read_all(tmp_path / "r.jsonl")
