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
from dgprune.latency_table import HEADS, MLPS, WIDTHS, Shares, open_table
from dgprune.models import create, structure_of
from dgprune.statistics import Interval
from dgprune.structure import Structure, cost_of
from pruning.budgets import Limits
from pruning.plan import Plan, planned
from pruning.ranking import UnitScores
from pruning.spec import PruneSpec
from pruning.speedup import Aim, Search, Shipped, uniform_plan
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


def test_every_cell_is_measured_once_and_kept(dense: Structure, tmp_path: Path) -> None:
    asked: list[Shares] = []

    def measure(shares: Shares) -> float:
        asked.append(shares)
        return clock(dense)(narrowed(dense, uniform_plan(dense, shares)))

    table = open_table("here", dense, measure, tmp_path)
    assert table.relative_time(dense) == 1.0
    assert asked == []
    half = narrowed(dense, uniform_plan(dense, Shares(width=1, heads=0.5, mlp=0.5)))
    first = table.relative_time(half)
    count = len(asked)
    assert 0 < count <= len(HEADS) + len(MLPS)
    assert open_table("here", dense, measure, tmp_path).relative_time(half) == first
    assert len(asked) == count
    with (tmp_path / "latency-table.jsonl").open("a") as file:
        file.write('{"key": "he')  # torn by a crash
    open_table("other runtime", dense, measure, tmp_path).relative_time(half)
    assert len(asked) == 2 * count


@pytest.mark.parametrize("width", WIDTHS)
def test_the_table_is_exact_where_blocks_add_up(
    dense: Structure, tmp_path: Path, width: float
) -> None:
    """At a width of the grid, MACs are linear in heads and MLP units: so must the table be."""
    time = clock(dense)
    table = open_table(
        "k", dense, lambda s: time(narrowed(dense, uniform_plan(dense, s))), tmp_path
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

    def speedup(self, plan: Plan) -> Interval:
        self.plans += 1
        structure = narrowed(self.dense, plan)
        uneven = len({block.mlp_hidden for block in structure.blocks}) > 1
        value = (self.factor if uneven else 1.0) / clock(self.dense)(structure)
        return Interval(low=value * 0.99, estimate=value, high=value * 1.01)


def scores_of(dense: Structure) -> UnitScores:
    rng = np.random.default_rng(0)
    heads = tuple(rng.random((b.num_heads, b.head_dim)) for b in dense.blocks)
    mlp = tuple((i + 1) * rng.random(b.mlp_hidden) for i, b in enumerate(dense.blocks))
    return UnitScores(width=rng.random(dense.embed_dim), qk=heads, value=heads, mlp=mlp)


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.25])
@pytest.mark.parametrize("wanted", [1.5, 3.0])
def test_the_search_ends_at_a_plan_that_measures_fast_enough(
    dense: Structure,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    factor: float,
    wanted: float,
) -> None:
    monkeypatch.setenv("DGPRUNE_CACHE", str(tmp_path / "cache"))
    limits = Limits(align_width=2, align_head_dim=2, align_mlp=2)
    shipped = FakeShipped(dense, Aim(speedup=wanted), tmp_path, factor)
    spec = PruneSpec(ranking="isomorphic", limits=limits)
    plan, measured = Search(scores=scores_of(dense), spec=spec, shipped=shipped).run()
    assert wanted <= measured.estimate <= wanted * 1.06
    assert measured == shipped.speedup(plan)


def test_a_speedup_that_no_plan_reaches_is_an_error_that_says_so(
    dense: Structure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DGPRUNE_CACHE", str(tmp_path / "cache"))
    shipped = FakeShipped(dense, Aim(speedup=500), tmp_path, 1.0)
    spec = PruneSpec(ranking="isomorphic", limits=Limits())
    with pytest.raises(DgpruneError, match="floors"):
        Search(scores=scores_of(dense), spec=spec, shipped=shipped).run()


@pytest.mark.parametrize(
    ("change", "option"),
    [
        ({"speedup": 0.5}, "--speedup"),
        ({"runtime": "abacus"}, "--runtime"),
        ({"batch_size": 0}, "--batch"),
        ({"threads": 0}, "--threads"),
    ],
)
def test_an_aim_that_cannot_be_measured_is_refused(change: dict[str, object], option: str) -> None:
    with pytest.raises(DgpruneError, match=option):
        Aim(**{"speedup": 2.0, **change})  # type: ignore[arg-type]


def test_the_command_ships_what_it_measured(
    chain: TinyChain,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DGPRUNE_CACHE", str(tmp_path / "cache"))
    for grid in ("WIDTHS", "HEADS", "MLPS"):  # a coarse table: six models instead of twenty
        monkeypatch.setattr(f"dgprune.latency_table.{grid}", (1.0, 0.25))
    where = ["--data", chain.data, "--target", chain.target, "--out", str(tmp_path / "out")]
    cut = ["--speedup", "1.2", "--criterion", "l2", "--no-refit", "--ranking", "local"]
    done = dgprune.cli.invoke(["prune", str(chain.dense), *where, *cut, "--json", "--quiet"])
    said = json.loads(capsys.readouterr().out)
    assert said["path"] == str(done.path)
    assert said["measured_speedup"]["estimate"] >= 1.2
    checkpoint = open_checkpoint(done.path)
    assert checkpoint.meta.label == "l2-local-1.2x"
    asked = checkpoint.meta.lineage[-1].spec
    assert (asked["speedup"], asked["runtime"], asked["batch_size"]) == (1.2, "onnxruntime", 1)
    cells = (tmp_path / "cache" / "latency-table.jsonl").read_text().splitlines()
    assert 2 <= len(cells) <= 5
    assert [p.name for p in (tmp_path / "out").iterdir() if p.is_dir()] == [done.path.name]
