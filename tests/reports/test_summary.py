"""The report in words: a sentence says of a file only what its records say."""

import pytest

from dgprune.records import AccuracyRecord, Entry
from reports.rows import tables
from reports.summary import sentences
from tests.fakes.sweep_files import Sweep
from tests.fakes.sweeps import sweep_entries

SWEEP = Sweep(criteria=("l1", "l2", "taylor"), ratios=(0.5,), batches=(1,))


def validated_only(*labels: str) -> list[Entry]:
    """A sweep of which only the files `labels` have validation records."""
    return [
        entry
        for entry in sweep_entries(SWEEP)
        if not isinstance(entry.record, AccuracyRecord)
        or entry.record.role != "source-val"
        or entry.record.subject.label in labels
    ]


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ((), "At ratio 50 %, l1, the first of 3 files without source validation, keeps"),
        (("taylor-50",), "taylor, the only one of 3 files with source validation, keeps"),
        (
            ("l2-50", "taylor-50"),
            "l2 has the best source validation of the 2 of 3 files that have one and keeps",
        ),
        (("l1-50", "l2-50", "taylor-50"), "l1 has the best source validation and keeps"),
    ],
)
def test_a_file_is_best_only_of_those_that_were_validated(
    labels: tuple[str, ...], said: str
) -> None:
    (table,) = tables(validated_only(*labels))
    _, line = sentences(table)
    assert said in line
