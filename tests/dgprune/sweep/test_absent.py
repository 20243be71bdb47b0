"""What a sweep was asked for and has not made stands in its records, and says why."""

import json
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from dgprune.errors import DgpruneError
from dgprune.missing import Missing, read_all
from dgprune.stage import Done
from dgprune.sweep.absent import DENSE_FAILED, NOT_TRIED, stable
from dgprune.sweep.cells import cells_of
from dgprune.sweep.plan import read_plan
from dgprune.sweep.sweep import SweepSpec, sweep
from dgprune.sweep.work import Place
from tests.dgprune.sweep.test_sweep import (
    SLOW,
    lines_of,
    of,
    refuses_dense,
    run,
    spec,
    start,
    until,
    whole_run,
)
from tests.dgprune.sweep.trivial import invoke

__all__ = ["spec"]


def missing_in(spec: SweepSpec) -> list[Missing]:
    """The lines of the kind, read as a report reads them: trivial cells leave no real records."""
    lines = (spec.out / "records.jsonl").read_text().splitlines()
    alone = spec.out.with_name("alone.jsonl")
    alone.write_text("".join(f"{line}\n" for line in lines if "reason" in json.loads(line)))
    return read_all(alone)[1]


def in_order(spec: SweepSpec, done: set[str]) -> list[str]:
    """Those cells in the plan's order."""
    return [cell.id for cell in cells_of(read_plan(spec.plan)) if cell.id in done]


def cell_files(spec: SweepSpec) -> bytes:
    """The records of all cells that are there, in the plan's order."""
    files = [spec.out / "cells" / f"{cell.id}.jsonl" for cell in cells_of(read_plan(spec.plan))]
    return b"".join(file.read_bytes() for file in files if file.exists())


def test_without_a_failure_the_file_is_that_of_the_cells_and_nothing_else(spec: SweepSpec) -> None:
    run(spec)
    assert (spec.out / "records.jsonl").read_bytes() == cell_files(spec)
    assert missing_in(spec) == []


def test_a_recipe_that_failed_everywhere_is_in_the_records(spec: SweepSpec) -> None:
    of(spec, ["l1", "fails"], seeds=(0, 1))
    assert run(spec).exit_code == 1
    found = missing_in(spec)
    places = {(one.target, one.seed) for one in found}
    assert places == {(f"domain{n}", seed) for n in range(3) for seed in (0, 1)}
    assert len(found) == 6 and len({one.recipe for one in found}) == 1
    for one in found:
        assert (one.label, one.criterion, one.ranking, one.ratio) == (
            *("fails-global-50", "fails", "global", 0.5),
        )
        assert (one.model, one.image_size) == ("vit_micro_patch4_32", 32)
        assert (one.format, one.precision, one.oracle, one.like) == ("onnx", "fp32", False, None)
        assert one.reason == "it fails on purpose; leave it out"
    records = (spec.out / "records.jsonl").read_bytes()
    assert records.startswith(cell_files(spec))  # those that are missing stand behind
    before = records
    run(spec)  # tried again, and failed again
    assert (spec.out / "records.jsonl").read_bytes() == before
    other = replace(spec, out=spec.out.with_name("elsewhere"), jobs=2)
    run(other)
    assert (other.out / "records.jsonl").read_bytes() == before


def test_what_starts_from_a_failed_cell_is_missing_too_and_names_a_file_like_it(
    spec: SweepSpec,
) -> None:
    sweep(of(spec, ["l1"], seeds=(0,)), refuses_dense)
    dense, pruned = missing_in(spec)
    assert (dense.target, dense.criterion, dense.ratio) == ("domain1", None, None)
    assert dense.reason == "no such weights; name others"
    assert (pruned.target, pruned.reason) == ("domain1", DENSE_FAILED)
    made = {line.name: line.made for line in lines_of(spec) if line.made is not None}
    for one, label in ((dense, "dense"), (pruned, "l1-global-50")):
        (like,) = (m for name, m in made.items() if name.endswith(label) and "domain0" in name)
        assert one.like is not None and like.artefact.endswith(f"-{one.like}")
    run(spec)  # they work now, and nothing is missing any more
    assert (spec.out / "records.jsonl").read_bytes() == whole_run(spec)
    assert missing_in(spec) == []


def test_weights_chosen_by_what_is_held_out_are_told_apart(spec: SweepSpec) -> None:
    of(spec, ["fails"])
    chosen = spec.plan.read_text().replace("[recover]", '[recover]\nselection = "oracle"')
    for text, oracle in ((spec.plan.read_text(), False), (chosen, True)):
        spec.plan.write_text(text)
        run(spec)
        assert {one.oracle for one in missing_in(spec)} == {oracle}


def test_an_interrupted_sweep_says_what_was_not_tried(spec: SweepSpec) -> None:
    of(spec, SLOW)
    process = start(spec)
    until(lambda: len(lines_of(spec)) >= 3)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    found = missing_in(spec)
    assert {one.reason for one in found} == {NOT_TRIED}
    done = {line.cell for line in lines_of(spec)}
    assert len(found) == 9 - len(done)
    # The worker at its task may have written its file and been ended before it could say so: what
    # the journal does not hold is not done, whatever lies in the folder.
    files = [(spec.out / "cells" / f"{cell}.jsonl").read_bytes() for cell in in_order(spec, done)]
    assert (spec.out / "records.jsonl").read_bytes().startswith(b"".join(files))
    assert run(spec).exit_code == 0
    assert (spec.out / "records.jsonl").read_bytes() == whole_run(spec)


def says_where(arguments: Sequence[str]) -> Done:
    """Every pruned model fails with an error that names a folder of this run."""
    if arguments[0] == "prune":
        store = arguments[list(arguments).index("--out") + 1]
        raise DgpruneError(f"{store}/pruned.1a2b3c4d.tmp/x y: torn (see /var/log/a.log); restore")
    return invoke(arguments)


def test_two_folders_where_the_same_fails_hold_the_same_records(spec: SweepSpec) -> None:
    found = []
    for name in ("one", "two"):
        here = replace(of(spec, ["l1"]), out=spec.out.with_name(name))
        sweep(here, says_where)
        found.append((here.out / "records.jsonl").read_bytes())
        reasons = {one.reason for one in missing_in(here)}
        assert reasons == {"pruned.tmp/x y: torn (see a.log); restore"}
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("a/b, 3/4; see https://x.y/z", "a/b, 3/4; see https://x.y/z"),
        ("/store of/me/finetuned-1a/w.bin is torn", "finetuned-1a/w.bin is torn"),
        ("/data of/me is empty", "me is empty"),
        ("cannot write '/else/where/a b': full", "cannot write 'a b': full"),
        ("<Thing at 0x7fA3> of process 1234, pid=77", "<Thing at 0x…> of process …, pid=…"),
        ("OutOfMemoryError: none left. Tried 2.5 GiB.", "OutOfMemoryError: none left"),
        ("two. Sentences.", "two. Sentences."),
        (f"lost node {'ab' * 28} at 10.0.0.7:6379", "lost node … at an address"),
        ("a\nb\t c", "a b c"),
        ("x" * 400, "x" * 300 + "…"),
    ],
)
def test_what_two_runs_of_one_failure_tell_apart_is_left_out(error: str, told: str) -> None:
    assert stable(error, Place(store="/store of/me", data="/data of/me")) == told


def test_every_cell_of_a_recipe_has_its_id_and_no_other(spec: SweepSpec, tmp_path: Path) -> None:
    cells = cells_of(read_plan(spec.plan))
    recipes = {cell.recipe for cell in cells}
    assert len(recipes) == 3  # dense, and two criteria
    for recipe in recipes:
        alike = [cell for cell in cells if cell.recipe == recipe]
        assert len({cell.label for cell in alike}) == 1
        assert len({(cell.target, cell.seed) for cell in alike}) == len(alike) == 6
    other = tmp_path / "other.toml"
    other.write_text(spec.plan.read_text().replace("[dense]\nepochs = 1", "[dense]\nepochs = 2"))
    assert not recipes & {cell.recipe for cell in cells_of(read_plan(other))}
