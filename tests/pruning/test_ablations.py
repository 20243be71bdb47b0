"""The ablations: what they change, and that nothing changes without them."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dgprune import cli
from dgprune.checkpoint import open_checkpoint
from dgprune.models import Transformer, blocks_of, create, set_fused_attention, structure_of
from pruning.budgets import Budget, Limits
from pruning.criteria import CRITERIA, Calibration, score
from pruning.groups import trace_groups
from pruning.plan import Plan, everything, missed_edge
from pruning.planning import make_plan
from pruning.refit import refit
from pruning.surgery import apply_plan
from tests.conftest import MICRO

NAMES = [
    MICRO,
    "deit_tiny_distilled_patch16_224",
    "deit3_small_patch16_224",
    "beit_base_patch16_224",
]
IMAGES = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(5))
CALIBRATION = Calibration(inputs=IMAGES, labels=torch.arange(6))


def halved(model: Transformer, name: str, *, miss_edge: bool, criterion: str = "l2") -> Plan:
    groups = trace_groups(model, miss_edge=miss_edge)
    scores = score(groups, criterion, CALIBRATION, seed=0)  # type: ignore[arg-type]
    budget = Budget(kind="ratio", value=0.5)
    return make_plan(scores, structure_of(model, name), "isomorphic", budget, Limits())


@pytest.mark.parametrize("name", NAMES)
def test_the_missed_edge_parts_the_stream_in_two(name: str) -> None:
    torch.manual_seed(0)
    model = create(name, num_classes=10, image_size=32)
    whole, broken = (halved(model, name, miss_edge=miss) for miss in (False, True))
    assert whole.width_after == ()
    assert len(broken.width_after) == len(broken.width) == len(whole.width)
    assert broken.width_after != broken.width
    assert [len(b.mlp) for b in broken.blocks] == [len(b.mlp) for b in whole.blocks]
    pruned = apply_plan(model, broken, name)
    edge = missed_edge(len(model.blocks))
    for index in (edge, edge + 1):
        old, new = blocks_of(model)[index], blocks_of(pruned)[index]
        before, behind = list(broken.width), list(broken.width_after)
        assert torch.equal(new.norm2.weight, old.norm2.weight[behind if index > edge else before])
        units = list(broken.blocks[index].mlp)
        assert torch.equal(new.mlp.fc2.weight, old.mlp.fc2.weight[behind][:, units])
    assert pruned(IMAGES).shape == (6, 10)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_scores_on_both_sides_add_up_to_those_of_the_whole(
    micro: Transformer, criterion: str
) -> None:
    whole, parted = (
        score(trace_groups(micro, miss_edge=miss), criterion, CALIBRATION, seed=0)  # type: ignore[arg-type]
        for miss in (False, True)
    )
    assert whole.width_after is None and parted.width_after is not None
    if criterion in ("hessian", "taylor", "l1"):
        np.testing.assert_allclose(parted.whole_width, whole.width, rtol=1e-5)
    if criterion == "l2":
        squares = parted.width**2 + parted.width_after**2
        np.testing.assert_allclose(squares, whole.width**2, rtol=1e-5)
    for one, other in zip(whole.mlp, parted.mlp, strict=True):
        if criterion != "random":
            np.testing.assert_allclose(one, other, rtol=1e-5)


def test_nothing_is_missed_where_nothing_is_cut(micro: Transformer) -> None:
    structure = structure_of(micro, MICRO)
    whole = everything(structure)
    plan = replace(whole, width_after=whole.width)
    set_fused_attention(micro, False)
    assert torch.equal(apply_plan(micro, plan, MICRO)(IMAGES), micro(IMAGES))


def test_a_missed_edge_costs_more_than_the_same_cut_without(micro: Transformer) -> None:
    plans = [halved(micro, MICRO, miss_edge=miss, criterion="fisher") for miss in (False, True)]
    errors = []
    for plan in plans:
        pruned = apply_plan(micro, plan, MICRO)
        refit(micro, pruned, plan, IMAGES)
        with torch.no_grad():
            errors.append(float((pruned(IMAGES) - micro(IMAGES)).norm()))
    assert errors[0] < errors[1]


def test_a_reset_scale_divides_by_the_root_of_the_new_head_dimension(micro: Transformer) -> None:
    plan = halved(micro, MICRO, miss_edge=False)
    kept, reset = (apply_plan(micro, plan, MICRO, keep_scale=keep) for keep in (True, False))
    for one, other in zip(blocks_of(kept), blocks_of(reset), strict=True):
        rows, dim = other.attn.attn_dim, other.attn.head_dim
        factor = math.sqrt(dim / 24)
        torch.testing.assert_close(
            one.attn.qkv.weight[:rows], other.attn.qkv.weight[:rows] * factor
        )
        assert torch.equal(one.attn.qkv.weight[rows:], other.attn.qkv.weight[rows:])
    narrow = [b.attn.head_dim < 24 for b in blocks_of(reset)]
    assert any(narrow) and not torch.equal(kept(IMAGES), reset(IMAGES))


def test_a_plan_that_misses_an_edge_is_applied_under_that_name_only(
    data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its plan.json says so; label and lineage of what is made by it must too."""
    missed = ("--drop-dependency", "residual")

    def prune(*more: str) -> tuple[int, str, str]:
        where = ("--data", str(data_folder), "--target", "domain2", "--out", str(tmp_path))
        options = ("--weights", "random", "--no-refit", "--quiet", *more)
        code = cli._exit_code(["prune", MICRO, *where, *options])
        told = capsys.readouterr()
        return code, told.out.strip(), told.err

    _, made, _ = prune("--criterion", "l1", *missed)
    plan = str(Path(made, "plan.json"))
    code, _, said = prune("--plan", plan)
    assert (code, "pass --drop-dependency residual with it" in said) == (2, True)
    code, made, _ = prune("--plan", plan, *missed)
    assert code == 0
    checkpoint = open_checkpoint(Path(made))
    assert checkpoint.meta.label.startswith("plan-")
    assert checkpoint.meta.label.endswith("-missed-edge")
    assert checkpoint.meta.lineage[-1].spec["drop_dependency"] == "residual"
    _, whole, _ = prune("--criterion", "l1")
    code, _, said = prune("--plan", str(Path(whole, "plan.json")), *missed)
    assert (code, "--drop-dependency does nothing with --plan" in said) == (2, True)
