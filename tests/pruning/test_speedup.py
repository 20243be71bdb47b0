"""A measured speedup as the budget: the table, the search, and the real thing once."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import dgprune.cli
from dgprune.checkpoint import open_checkpoint
from dgprune.errors import DgpruneError
from dgprune.latency_table import (
    HEADS,
    MLPS,
    WIDTHS,
    LatencyTable,
    Shares,
    Timed,
    open_measurements,
)
from dgprune.models import create, structure_of
from dgprune.progress import Silent
from dgprune.reached import read_reached
from dgprune.statistics import Interval
from dgprune.structure import Structure, cost_of
from pruning.budgets import Limits
from pruning.plan import Plan, planned
from pruning.planning import plan_for_time
from pruning.ranking import UnitScores
from pruning.shipped import Aim, Shipped
from pruning.spec import PruneSpec
from pruning.speedup import Search, uniform_plan
from tests.conftest import MICRO, TinyChain


@pytest.fixture
def dense() -> Structure:
    return structure_of(create(MICRO, num_classes=10, image_size=None), MICRO)


def narrowed(dense: Structure, plan: Plan) -> Structure:
    width, blocks = planned(plan, dense)
    return replace(dense, embed_dim=width, blocks=blocks)


def clock(dense: Structure) -> Callable[[Structure], float]:
    """A machine whose time is a constant and a share of the MACs: nothing a table could know."""
    whole = cost_of(dense).macs_per_image
    return lambda structure: 0.1 + 0.9 * cost_of(structure).macs_per_image / whole


def exactly(relative_time: float) -> Timed:
    value = 1 / relative_time
    return Timed(interval=Interval(low=value, estimate=value, high=value))


def table_of(
    dense: Structure, folder: Path, measure: Callable[[Shares], Timed], key: str = "here"
) -> LatencyTable:
    return LatencyTable(measurements=open_measurements(key, folder), dense=dense, measure=measure)


def test_every_cell_is_measured_once_and_kept(dense: Structure, tmp_path: Path) -> None:
    asked: list[Shares] = []

    def measure(shares: Shares) -> Timed:
        asked.append(shares)
        return exactly(clock(dense)(narrowed(dense, uniform_plan(dense, shares))))

    table = table_of(dense, tmp_path, measure)
    assert table.relative_time(dense) == 1.0
    assert asked == []
    half = narrowed(dense, uniform_plan(dense, Shares(width=1, heads=0.5, mlp=0.5)))
    first = table.relative_time(half)
    count = len(asked)
    assert 0 < count <= len(HEADS) + len(MLPS)
    assert table_of(dense, tmp_path, measure).relative_time(half) == first
    assert len(asked) == count
    table_of(dense, tmp_path, measure, "other runtime").relative_time(half)
    assert len(asked) == 2 * count


@pytest.mark.parametrize(
    "damage", [b"\xff\xfe", b'{"key": "he', b'{"a": 1}', b'{"key":"here","estimate":-1}']
)
def test_a_damaged_table_is_measured_again(dense: Structure, tmp_path: Path, damage: bytes) -> None:
    def measure(shares: Shares) -> Timed:
        return exactly(0.5)

    file = tmp_path / "latency-table.jsonl"
    table_of(dense, tmp_path, measure).cell(1.0, 0.5, 1.0)
    whole = file.read_text()
    for bad in ("NaN", "-0.5", "0"):
        line = whole.replace('"estimate":2.0', f'"estimate":{bad}')
        file.write_bytes(line.encode() + damage)
        assert open_measurements("here", tmp_path).known == {}
        assert table_of(dense, tmp_path, measure).cell(1.0, 0.5, 1.0) == 0.5
    file.write_bytes(whole.encode() + damage)
    assert len(open_measurements("here", tmp_path).known) == 1


def test_a_cache_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DgpruneError, match="DGPRUNE_CACHE"):
        open_measurements("here", tmp_path / "file")


@pytest.mark.parametrize("width", WIDTHS)
def test_the_table_is_exact_where_blocks_add_up(
    dense: Structure, tmp_path: Path, width: float
) -> None:
    """At a width of the grid, MACs are linear in heads and MLP units: so must the table be."""
    time = clock(dense)
    table = table_of(
        dense, tmp_path, lambda s: exactly(time(narrowed(dense, uniform_plan(dense, s))))
    )
    for heads, mlp in ((1.0, 0.5), (0.5, 1.0), (0.5, 0.3)):
        structure = narrowed(dense, uniform_plan(dense, Shares(width=width, heads=heads, mlp=mlp)))
        mixed = replace(structure, blocks=(*structure.blocks[:2], *dense.blocks[2:]))
        for each in (structure, mixed):
            assert table.relative_time(each) == pytest.approx(time(each), rel=1e-3)


class FakeShipped(Shipped):
    """Measures a plan by a formula, times a factor that the table does not know."""

    def __init__(self, dense: Structure, aim: Aim, folder: Path, factor: float) -> None:
        super().__init__(
            source=None,  # type: ignore[arg-type]
            dense=dense,
            aim=aim,
            folder=folder,
            invoke=None,  # type: ignore[arg-type]
        )
        self.factor, self.plans = factor, 0

    def speedup(self, plan: Plan) -> Timed:
        self.plans += 1
        structure = narrowed(self.dense, plan)
        uneven = len({block.mlp_hidden for block in structure.blocks}) > 1
        value = (self.factor if uneven else 1.0) / clock(self.dense)(structure)
        return Timed(interval=Interval(low=value * 0.99, estimate=value, high=value * 1.01))


def scores_of(dense: Structure) -> UnitScores:
    rng = np.random.default_rng(0)
    heads = tuple(rng.random((b.num_heads, b.head_dim)) for b in dense.blocks)
    mlp = tuple((i + 1) * rng.random(b.mlp_hidden) for i, b in enumerate(dense.blocks))
    return UnitScores(width=rng.random(dense.embed_dim), qk=heads, value=heads, mlp=mlp)


def search(dense: Structure, folder: Path, shipped: FakeShipped, limits: Limits) -> Search:
    spec = PruneSpec(ranking="isomorphic", limits=limits, criterion="hessian", refit=False)
    measurements = open_measurements("here", folder)
    return Search(scores=scores_of(dense), spec=spec, shipped=shipped, measurements=measurements)


@pytest.mark.parametrize("factor", [0.7, 0.8, 1.0, 1.25])
@pytest.mark.parametrize("wanted", [1.5, 3.0])
def test_the_search_ends_at_a_plan_that_measures_fast_enough(
    dense: Structure, tmp_path: Path, factor: float, wanted: float
) -> None:
    limits = Limits(align_width=2, align_head_dim=2, align_mlp=2)
    shipped = FakeShipped(dense, Aim(speedup=wanted), tmp_path, factor)
    plan, measured = search(dense, tmp_path, shipped, limits).run()
    assert wanted <= measured.interval.estimate <= wanted * 1.06
    assert measured == shipped.speedup(plan)
    count = shipped.plans
    again, _ = search(dense, tmp_path, shipped, limits).run()
    assert (again, shipped.plans) == (plan, count)  # nothing is measured twice


def test_a_table_that_promises_too_little_does_not_end_the_search(
    dense: Structure, tmp_path: Path
) -> None:
    """The floors measure 1.5 times what the table says of them."""
    shipped = FakeShipped(dense, Aim(speedup=1.0), tmp_path, 1.5)
    floors = plan_for_time(scores_of(dense), dense, "isomorphic", Limits(), clock(dense), most=0.0)
    within = shipped.speedup(floors).interval.estimate * 0.98
    wanted = FakeShipped(dense, Aim(speedup=within), tmp_path, 1.5)
    _, measured = search(dense, tmp_path, wanted, Limits()).run()
    assert measured.interval.estimate >= within


def test_a_speedup_that_no_plan_reaches_is_an_error_that_says_so(
    dense: Structure, tmp_path: Path
) -> None:
    shipped = FakeShipped(dense, Aim(speedup=500), tmp_path, 1.0)
    with pytest.raises(DgpruneError, match="--speedup 500: the fastest of 1 measured plans"):
        search(dense, tmp_path, shipped, Limits()).run()


def test_a_result_beyond_the_aim_is_told(dense: Structure, tmp_path: Path) -> None:
    lines: list[str] = []

    class Told(Silent):
        def line(self, text: str) -> None:
            lines.append(text)

    coarse = Limits(min_heads=4, min_head_dim=24, align_mlp=192, align_width=96, align_head_dim=24)
    shipped = FakeShipped(dense, Aim(speedup=1.02), tmp_path, 1.0)
    _, measured = replace(search(dense, tmp_path, shipped, coarse), progress=Told()).run()
    assert measured.interval.estimate > 1.02 * 1.03
    (told,) = (line for line in lines if "--align" in line)
    assert told.startswith("none of the ") and " measured plans lies between 1.02x and " in told


@pytest.mark.parametrize(
    ("change", "option"),
    [
        ({"speedup": 0.5}, "--speedup"),
        ({"runtime": "abacus"}, "--runtime"),
        ({"batch_size": 0}, "--batch"),
        ({"threads": 0}, "--threads"),
        ({"latency_ms": 0.0}, "--latency-ms"),
    ],
)
def test_an_aim_that_cannot_be_measured_is_refused(change: dict[str, object], option: str) -> None:
    with pytest.raises(DgpruneError, match=option):
        Aim(**{"speedup": 2.0, **change})  # type: ignore[arg-type]


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_the_command_ships_what_it_measured(
    runtime: str,
    chain: TinyChain,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip(runtime)
    monkeypatch.setenv("DGPRUNE_CACHE", str(tmp_path / "cache"))
    # On a busy machine rounds are void, and nothing would be kept (tests/pruning/test_shipped.py).
    monkeypatch.setattr("pruning.shipped.withheld", lambda record, control: [])
    for grid in ("WIDTHS", "HEADS", "MLPS"):  # a coarse table: six models instead of twenty
        monkeypatch.setattr(f"dgprune.latency_table.{grid}", (1.0, 0.25))
    where = ["--data", chain.data, "--target", chain.target, "--out", str(tmp_path / "out")]
    cut = ["--speedup", "1.2", "--criterion", "l2", "--no-refit", "--ranking", "local"]
    cut += ["--runtime", runtime]
    done = dgprune.cli.invoke(["prune", str(chain.dense), *where, *cut, "--json", "--quiet"])
    said = json.loads(capsys.readouterr().out)
    assert said["path"] == str(done.path)
    assert said["measured_speedup"]["estimate"] >= 1.2
    checkpoint = open_checkpoint(done.path)
    assert checkpoint.meta.label == "l2-local-1.2x"
    asked = checkpoint.meta.lineage[-1].spec
    assert (asked["speedup"], asked["runtime"], asked["batch_size"]) == (1.2, runtime, 1)
    reached = read_reached(done.path)
    assert reached is not None
    assert reached.text == said["reached"] and f" on {runtime}, batch 1" in reached.text
    assert reached.estimate == said["measured_speedup"]["estimate"]
    dgprune.cli.invoke(["inspect", str(done.path)])
    assert f"reached    {reached.text}\n" in capsys.readouterr().out
    cells = (tmp_path / "cache" / "latency-table.jsonl").read_text().splitlines()
    assert 3 <= len(cells) <= 12
    again = dgprune.cli.invoke(["prune", str(chain.dense), *where, *cut, "--quiet"])
    assert (again.path, again.fresh) == (done.path, False)
    assert [p.name for p in (tmp_path / "out").iterdir() if p.is_dir()] == [done.path.name]
