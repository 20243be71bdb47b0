"""The global plan: floors, alignment, order, and errors that name the axis."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgprune.errors import DgpruneError
from dgprune.models import VisionTransformer, structure_of
from pruning.plan import BlockPlan, Plan, check, everything, planned
from pruning.planning import Limits, UnitScores, heads_and_dims, plan_globally


def random_scores(seed: int, width: int = 64, heads: int = 4, dim: int = 16) -> UnitScores:
    rng = np.random.default_rng(seed)
    return UnitScores(
        width=rng.random(width),
        attention=tuple(rng.random((heads, dim)) for _ in range(3)),
        mlp=tuple(rng.random(128) ** 3 for _ in range(3)),
    )


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), ratio=st.floats(0.01, 0.85))
def test_kept_sizes_are_aligned_and_at_or_above_the_floors(seed: int, ratio: float) -> None:
    limits = Limits()
    plan = plan_globally(random_scores(seed), ratio, limits)
    assert len(plan.width) >= limits.min_width
    assert len(plan.width) % limits.align_width == 0
    for block in plan.blocks:
        assert len(block.heads) >= limits.min_heads
        dims = len(block.head_dims[0])
        assert dims >= limits.min_head_dim
        assert dims % limits.align_head_dim == 0
        assert len(block.mlp) >= limits.min_mlp
        assert len(block.mlp) % limits.align_mlp == 0


@given(seed=st.integers(0, 10_000))
def test_the_share_removed_is_the_ratio_up_to_alignment(seed: int) -> None:
    plan = plan_globally(random_scores(seed), 0.5, Limits())
    kept = len(plan.width) + sum(
        len(b.heads) * len(b.head_dims[0]) + len(b.mlp) for b in plan.blocks
    )
    total = 64 + 3 * (64 + 128)
    assert kept / total == pytest.approx(0.5, abs=7 * 4 / total)


def test_the_highest_scores_stay() -> None:
    scores = random_scores(1)
    plan = plan_globally(scores, 0.5, Limits())
    worst_kept = scores.mlp[0][list(plan.blocks[0].mlp)].min()
    best_cut = np.delete(scores.mlp[0], list(plan.blocks[0].mlp)).max()
    assert worst_kept >= best_cut


def test_ranking_is_global_a_weaker_block_loses_more() -> None:
    scores = random_scores(1)
    skewed = np.concatenate([np.full(120, 1e-3), np.full(8, 100.0)])
    uneven = UnitScores(
        width=scores.width, attention=scores.attention, mlp=(skewed, *scores.mlp[1:])
    )
    plan = plan_globally(uneven, 0.3, Limits())
    assert len(plan.blocks[0].mlp) < len(plan.blocks[1].mlp)


def test_a_ratio_beyond_the_floors_is_an_error_that_names_an_axis() -> None:
    with pytest.raises(DgpruneError, match=r"--ratio 0\.99 leaves .* floors keep .*width"):
        plan_globally(random_scores(0), 0.99, Limits())


def test_scores_that_are_not_numbers_are_refused() -> None:
    scores = random_scores(0)
    scores.mlp[1][5] = np.nan
    with pytest.raises(DgpruneError, match="MLP of block 1"):
        plan_globally(scores, 0.5, Limits())


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
        ({"head_dims": ((0, 1), (0,), (0,), (0,))}, "equally many"),
    ],
)
def test_an_edited_plan_that_does_not_fit_is_refused(
    micro: VisionTransformer, change: dict[str, tuple[int, ...]], reason: str
) -> None:
    structure = structure_of(micro, "vit_micro_patch4_32")
    whole = everything(structure)
    first = whole.blocks[0]
    fields = {"heads": first.heads, "head_dims": first.head_dims, "mlp": first.mlp, **change}
    wrong = Plan(width=whole.width, blocks=(BlockPlan(**fields), *whole.blocks[1:]))  # type: ignore[arg-type]
    with pytest.raises(DgpruneError, match=reason):
        check(wrong, structure)


def test_everything_plans_the_structure_itself(micro: VisionTransformer) -> None:
    structure = structure_of(micro, "vit_micro_patch4_32")
    assert planned(everything(structure), structure) == (structure.embed_dim, structure.blocks)
