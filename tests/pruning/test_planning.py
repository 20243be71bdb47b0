"""The global plan: floors, alignment, order, and errors that name the axis."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgprune.errors import DgpruneError
from dgprune.models import Transformer, bare_model, structure_of
from dgprune.progress import Plain
from dgprune.source import SourceSpec
from dgprune.structure import Block, Structure, cost_of
from pruning.aligning import heads_and_dims
from pruning.budgets import FOR_COST, Budget, Limits, budget_from, limits_from
from pruning.plan import BlockPlan, Plan, check, everything, planned
from pruning.planning import make_plan
from pruning.prune_checkpoint import prune
from pruning.ranking import RANKINGS, Ranking, UnitScores
from pruning.spec import PruneSpec
from tests.conftest import MICRO


def random_scores(seed: int, width: int = 64, heads: int = 4, dim: int = 16) -> UnitScores:
    rng = np.random.default_rng(seed)
    return UnitScores(
        width=rng.random(width),
        qk=tuple(rng.random((heads, dim)) for _ in range(3)),
        value=tuple(rng.random((heads, dim)) for _ in range(3)),
        mlp=tuple(rng.random(128) ** 3 for _ in range(3)),
    )


STRUCTURE = Structure(
    model="vit_micro_patch4_32",
    image_size=32,
    patch_size=4,
    num_classes=10,
    embed_dim=64,
    prefix_tokens=1,
    classifiers=1,
    qkv_bias=True,
    layer_scale=False,
    class_position=True,
    blocks=(Block(num_heads=4, head_dim=16, mlp_hidden=128),) * 3,
)


def plan_for(scores: UnitScores, ratio: float, limits: Limits, ranking: Ranking = "global") -> Plan:
    return make_plan(scores, STRUCTURE, ranking, Budget(kind="ratio", value=ratio), limits)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), ratio=st.floats(0.01, 0.85))
def test_kept_sizes_are_aligned_and_at_or_above_the_floors(seed: int, ratio: float) -> None:
    limits = Limits()
    plan = plan_for(random_scores(seed), ratio, limits)
    assert len(plan.width) >= limits.min_width
    assert len(plan.width) % limits.align_width == 0
    for block in plan.blocks:
        assert len(block.heads) >= limits.min_heads
        dims = len(block.qk_dims[0])
        assert dims >= limits.min_head_dim
        assert dims % limits.align_head_dim == 0
        assert len(block.mlp) >= limits.min_mlp
        assert len(block.mlp) % limits.align_mlp == 0


@given(seed=st.integers(0, 10_000))
def test_the_share_removed_is_the_ratio_up_to_alignment(seed: int) -> None:
    plan = plan_for(random_scores(seed), 0.5, Limits())
    kept = len(plan.width) + sum(len(b.heads) * len(b.qk_dims[0]) + len(b.mlp) for b in plan.blocks)
    total = 64 + 3 * (64 + 128)
    assert abs(kept - total // 2) <= 7 * 4  # seven axes, each rounded by half a step of 8 at most


def test_the_highest_scores_stay() -> None:
    scores = random_scores(1)
    plan = plan_for(scores, 0.5, Limits())
    worst_kept = scores.mlp[0][list(plan.blocks[0].mlp)].min()
    best_cut = np.delete(scores.mlp[0], list(plan.blocks[0].mlp)).max()
    assert worst_kept >= best_cut


def test_ranking_is_global_a_weaker_block_loses_more() -> None:
    scores = random_scores(1)
    skewed = np.concatenate([np.full(120, 1e-3), np.full(8, 100.0)])
    uneven = UnitScores(
        width=scores.width,
        qk=scores.qk,
        value=scores.value,
        mlp=(skewed, *scores.mlp[1:]),
    )
    plan = plan_for(uneven, 0.3, Limits())
    assert len(plan.blocks[0].mlp) < len(plan.blocks[1].mlp)


def test_a_ratio_beyond_the_floors_is_an_error_that_names_an_axis() -> None:
    with pytest.raises(DgpruneError, match=r"--ratio leaves .* floors keep .*width"):
        plan_for(random_scores(0), 0.99, Limits())


@pytest.mark.parametrize("kind", ["ratio", "macs"])
@pytest.mark.parametrize(
    ("align", "says"),
    [
        (
            {"align_width": 512},
            "width has 64 units, fewer than the multiple 512 .* --align width=N",
        ),
        ({"align_mlp": 160}, "MLP of block 0 has 128 units, fewer than the multiple 160 .* mlp=N"),
        (
            {"align_head_dim": 24, "min_heads": 4},
            "attention of block 0 has 16 dimensions, fewer than the multiple 24 .* head_dim=N",
        ),
    ],
)
def test_a_multiple_above_the_size_of_an_axis_is_refused(
    kind: str, align: dict[str, int], says: str
) -> None:
    budget = Budget(kind=kind, value=0.5)  # type: ignore[arg-type]
    scores, limits = random_scores(0), replace(Limits(), **align)
    with pytest.raises(DgpruneError, match=says):
        make_plan(scores, STRUCTURE, "local", budget, limits)
    whole = replace(budget, value=0.0 if kind == "ratio" else 1.0)
    make_plan(scores, STRUCTURE, "local", whole, limits)  # nothing goes


def test_scores_that_are_not_numbers_are_refused() -> None:
    scores = random_scores(0)
    scores.mlp[1][5] = np.nan
    with pytest.raises(DgpruneError, match="MLP of block 1"):
        plan_for(scores, 0.5, Limits())


@pytest.mark.parametrize(
    ("kept", "expected"), [(64, (4, 16)), (32, (2, 16)), (48, (3, 16)), (8, (1, 8)), (24, (2, 12))]
)
def test_whole_heads_win_between_equals(kept: int, expected: tuple[int, int]) -> None:
    assert heads_and_dims((4, 16), kept, Limits()) == expected


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"heads": (0, 9)}, "heads of block 0"),
        ({"mlp": ()}, "MLP of block 0"),
        ({"mlp": (3, 3)}, "MLP of block 0"),
        ({"qk_dims": ((0, 1), (0,), (0,), (0,))}, "equally many"),
        ({"value_dims": ((0,), (0,), (0,), (0,))}, "equally many"),
    ],
)
def test_an_edited_plan_that_does_not_fit_is_refused(
    micro: Transformer, change: dict[str, tuple[int, ...]], reason: str
) -> None:
    structure = structure_of(micro, "vit_micro_patch4_32")
    whole = everything(structure)
    first = whole.blocks[0]
    fields = {**asdict(first), **change}
    wrong = Plan(width=whole.width, blocks=(BlockPlan(**fields), *whole.blocks[1:]))
    with pytest.raises(DgpruneError, match=reason):
        check(wrong, structure)


def test_everything_plans_the_structure_itself(micro: Transformer) -> None:
    structure = structure_of(micro, "vit_micro_patch4_32")
    assert planned(everything(structure), structure) == (structure.embed_dim, structure.blocks)


@pytest.mark.parametrize("ranking", RANKINGS)
@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.7])
def test_every_ranking_removes_the_ratio(ranking: Ranking, ratio: float) -> None:
    fine = Limits(align_width=1, align_head_dim=1, align_mlp=1, min_head_dim=1)
    plan = plan_for(random_scores(2), ratio, fine, ranking)
    kept = len(plan.width) + sum(len(b.heads) * len(b.qk_dims[0]) + len(b.mlp) for b in plan.blocks)
    assert kept / (64 + 3 * (64 + 128)) == pytest.approx(1 - ratio, abs=0.01)


def test_local_cuts_every_block_alike_and_isomorphic_every_kind() -> None:
    scores = random_scores(1)
    weak = UnitScores(
        width=scores.width,
        qk=scores.qk,
        value=scores.value,
        mlp=(scores.mlp[0] / 100, *scores.mlp[1:]),
    )
    local = plan_for(weak, 0.5, Limits(), "local")
    assert [len(b.mlp) for b in local.blocks] == [64, 64, 64]
    isomorphic = plan_for(weak, 0.5, Limits(), "isomorphic")
    sizes = [len(b.mlp) for b in isomorphic.blocks]
    assert sizes[0] == 8  # raw scores are compared over blocks: the weak one goes to its floor
    assert sum(sizes) == pytest.approx(0.5 * 3 * 128, abs=16)
    assert len(isomorphic.width) == 32


@pytest.mark.parametrize("ranking", RANKINGS)
@pytest.mark.parametrize("kind", ["macs", "params"])
@pytest.mark.parametrize("value", [0.2, 0.44, 0.8])
def test_cost_budgets_are_met_from_below(ranking: Ranking, kind: str, value: float) -> None:
    limits = Limits(align_width=2, align_head_dim=2, align_mlp=2, min_head_dim=2)
    budget = Budget(kind=kind, value=value)  # type: ignore[arg-type]
    plan = make_plan(random_scores(3), STRUCTURE, ranking, budget, limits)
    width, blocks = planned(plan, STRUCTURE)
    after = cost_of(replace(STRUCTURE, embed_dim=width, blocks=blocks))
    name = "macs_per_image" if kind == "macs" else "parameters"
    share = getattr(after, name) / getattr(cost_of(STRUCTURE), name)
    assert value - 0.02 <= share <= value


@pytest.mark.parametrize("value", [0.04, 0.08, 0.09, 0.16, 0.25])
def test_small_cost_budgets_are_met_as_closely(value: float) -> None:
    """Two points of the dense cost are half of a budget of four."""
    deit = replace(
        STRUCTURE,
        image_size=112,
        patch_size=16,
        embed_dim=192,
        blocks=(Block(num_heads=3, head_dim=64, mlp_hidden=768),) * 12,
    )
    rng = np.random.default_rng(0)
    scores = UnitScores(
        width=rng.lognormal(size=192),
        qk=tuple(rng.lognormal(size=(3, 64)) for _ in range(12)),
        value=tuple(rng.lognormal(size=(3, 64)) for _ in range(12)),
        mlp=tuple(rng.lognormal(size=768) for _ in range(12)),
    )
    plan = make_plan(scores, deit, "isomorphic", Budget(kind="macs", value=value), FOR_COST)
    width, blocks = planned(plan, deit)
    after = cost_of(replace(deit, embed_dim=width, blocks=blocks)).macs_per_image
    assert 0.96 * value <= after / cost_of(deit).macs_per_image <= value


def test_the_width_is_the_last_to_go_under_a_budget() -> None:
    limits = Limits(align_width=2, align_head_dim=2, align_mlp=2, min_head_dim=2)
    widths = [
        len(
            make_plan(
                random_scores(3), STRUCTURE, "isomorphic", Budget(kind="macs", value=v), limits
            ).width
        )
        for v in (0.6, 0.2)
    ]
    assert widths[0] == 64 > widths[1]


def test_a_budget_below_the_floors_is_an_error() -> None:
    with pytest.raises(DgpruneError, match="the floors alone cost .* raise the budget"):
        make_plan(random_scores(0), STRUCTURE, "local", Budget(kind="macs", value=0.01), FOR_COST)


def test_options_give_one_budget_and_its_limits() -> None:
    assert budget_from({"ratio": None, "macs": None}) == Budget(kind="ratio", value=0.5)
    assert budget_from({"ratio": None, "macs": 0.3}) == Budget(kind="macs", value=0.3)
    with pytest.raises(DgpruneError, match="--ratio and --macs exclude each other"):
        budget_from({"ratio": 0.5, "macs": 0.3})
    macs = Budget(kind="macs", value=0.3)
    assert limits_from(macs, None, None) == FOR_COST
    changed = limits_from(macs, "width=16,mlp=64", "heads=1")
    assert (changed.align_width, changed.align_mlp, changed.min_heads) == (16, 64, 1)
    with pytest.raises(DgpruneError, match=r"--align 'wdith=8'.*did you mean 'width'"):
        limits_from(macs, "wdith=8", None)
    with pytest.raises(DgpruneError, match=r"--floor 'mlp=x' must be one of"):
        limits_from(macs, None, "mlp=x")


def test_a_cost_budget_never_cuts_the_width_below_a_quarter() -> None:
    limits = limits_from(
        Budget(kind="macs", value=0.1), "width=2,head_dim=2,mlp=2", "heads=1,head_dim=2,mlp=2"
    )
    budget = Budget(kind="macs", value=0.05)
    plan = make_plan(random_scores(3), STRUCTURE, "isomorphic", budget, limits)
    assert len(plan.width) >= 16
    with pytest.raises(DgpruneError, match="--floor heads 0 must be a number"):
        Limits(min_heads=0)


@pytest.mark.parametrize(("value", "told"), [(0.06, True), (0.5, False)])
def test_a_budget_that_no_plan_comes_near_is_told(
    data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], value: float, told: bool
) -> None:
    budget = Budget(kind="macs", value=value)
    spec = PruneSpec(
        criterion="random", ranking="local", refit=False, budget=budget, limits=FOR_COST
    )
    source = SourceSpec(model=MICRO, weights="random", data=str(data_folder), target="domain2")
    kept = prune(source, spec, tmp_path, Plain()).summary["macs_per_image"]
    structure = structure_of(bare_model(MICRO), MICRO)
    share = kept / cost_of(replace(structure, num_classes=2)).macs_per_image / value
    assert (share < 0.96) == told
    assert ("the nearest plan keeps 0.0" in capsys.readouterr().err) == told
