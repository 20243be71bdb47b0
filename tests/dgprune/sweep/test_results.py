"""What a sweep leaves: records of what the plan asks, whatever else was measured or interrupted."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from dgprune.stage import Done
from dgprune.sweep.journal import Journal, read_journal
from dgprune.sweep.sweep import SweepSpec, failure_lines, sweep
from tests.dgprune.sweep.test_sweep import lines_of, of, run, spec
from tests.dgprune.sweep.trivial import invoke

__all__ = ["spec"]
BENCH = '[bench]\nbatch = [1]\ntier = "smoke"\nthreads = 1\n'


def records_of(spec: SweepSpec) -> list[Any]:
    return [json.loads(line) for line in (spec.out / "records.jsonl").read_text().splitlines()]


def timed(spec: SweepSpec) -> set[str]:
    """Each file whose latency stands in the records."""
    return {record["latency"][0] for record in records_of(spec) if "latency" in record}


def with_bench(spec: SweepSpec, criteria: Sequence[str], bench: str) -> SweepSpec:
    of(spec, criteria)
    spec.plan.write_text(spec.plan.read_text() + bench)
    return spec


def test_records_hold_latency_of_this_plans_files_measured_as_it_asks(spec: SweepSpec) -> None:
    run(with_bench(spec, ["l1", "l2"], BENCH))
    both = timed(spec)
    assert len(both) == 3 * 3
    run(with_bench(spec, ["l1"], BENCH))
    assert timed(spec) < both and len(timed(spec)) == 3 * 2
    run(with_bench(spec, ["l1"], BENCH.replace("smoke", "default")))
    tiers = {record["spec"]["tier"] for record in records_of(spec) if "latency" in record}
    assert tiers == {"default"} and len(timed(spec)) == 3 * 2
    run(with_bench(spec, ["l1"], ""))
    assert timed(spec) == set()


def test_an_interruption_while_files_are_timed_leaves_the_records(spec: SweepSpec) -> None:
    run(of(spec, ["l1"]))
    benches = 0

    def interrupted(arguments: Sequence[str]) -> Done:
        nonlocal benches
        benches += arguments[0] == "bench"
        if benches == 3:
            assert len(records_of(spec)) == 6 * 2  # what a kill would leave
            raise KeyboardInterrupt
        return invoke(arguments)

    with pytest.raises(KeyboardInterrupt):
        sweep(with_bench(spec, ["l1"], BENCH), interrupted)
    assert len(records_of(spec)) == 6 * 2 + 2


def test_the_advice_after_a_failure_goes_on_with_the_same_cells(spec: SweepSpec) -> None:
    asked = replace(of(spec, ["fails"]), skip_bad_images=True, jobs=2, cpus_per_cell=2)
    done = run(asked)
    (line,) = (line for line in failure_lines(asked, done.summary) if "try them again" in line)
    words = line.partition("again: dgprune sweep ")[2].split()
    assert words == [
        *(str(spec.plan), "--out", str(spec.out)),
        *("--jobs", "2", "--cpus-per-cell", "2", "--skip-bad-images", "--resume"),
    ]


def test_a_line_end_of_unicode_in_a_name_ends_no_line_of_a_journal(spec: SweepSpec) -> None:
    run(of(spec, ["l1"]))
    ended = [replace(line, name="\u00c3\x85rhus\u2028") for line in lines_of(spec)]
    path = spec.out / "other.jsonl"
    with Journal(path) as journal:
        for line in ended:
            journal.write(line)
    assert read_journal(path) == ended


def resumed(arguments: Sequence[str]) -> Done:
    """Every recovery goes on from what a killed run had trained."""
    return replace(invoke(arguments), resumed="--teacher" in arguments)


def test_a_cell_that_went_on_says_nothing_of_how_long_one_takes(spec: SweepSpec) -> None:
    sweep(of(spec, ["l1"]), resumed)
    assert {line.kind: line.whole for line in lines_of(spec)} == {"dense": True, "pruned": False}
