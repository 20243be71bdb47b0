"""Pruning in steps: the schedules, the target of every step, and that it goes on where it was."""

from pathlib import Path

import numpy as np
import pytest

from dgprune.checkpoint import open_checkpoint
from dgprune.errors import DgpruneError
from dgprune.models import create, structure_of
from dgprune.source import SourceSpec
from dgprune.structure import Structure, cost_of
from pruning.asked import Asked
from pruning.budgets import FOR_COST, Budget, Limits
from pruning.iterative import StepsSpec, _target, prune_in_steps
from pruning.plan import Plan
from pruning.planning import make_plan, structure_after
from pruning.ranking import UnitScores
from pruning.shipped import Aim
from pruning.spec import PruneSpec
from pruning.training_spec import TrainSpec
from tests.conftest import MICRO, TinyChain

FINE = Limits(align_width=2, align_head_dim=2, align_mlp=2)
SHORT = TrainSpec(epochs=1, batch_size=8, augmentation="glyph")


def test_schedules_end_at_the_whole_cut_and_cubic_cuts_earlier() -> None:
    linear, cubic = (StepsSpec(steps=4, schedule=s) for s in ("linear", "cubic"))
    assert [linear.done(step) for step in (1, 2, 3, 4)] == [0.25, 0.5, 0.75, 1.0]
    assert [cubic.done(step) for step in (1, 2, 4)] == [1 - 0.75**3, 1 - 0.5**3, 1.0]
    assert StepsSpec(steps=1).done(1) == 1.0


@pytest.mark.parametrize("change", [{"steps": 0}, {"steps": 2, "schedule": "square"}])
def test_what_makes_no_steps_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(DgpruneError, match="--steps|--schedule"):
        StepsSpec(**change)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["macs", "params", "ratio"])
def test_every_step_cuts_and_the_last_one_meets_the_budget(
    chain: TinyChain, tmp_path: Path, kind: str
) -> None:
    source = SourceSpec(model=str(chain.dense), data=chain.data, target=chain.target)
    budget = Budget(kind=kind, value=0.4)  # type: ignore[arg-type]
    spec = PruneSpec(criterion="l2", ranking="local", budget=budget, limits=FINE, refit=False)
    out = tmp_path / "out"
    done = prune_in_steps(source, spec, StepsSpec(steps=2, train=SHORT), out)
    last = open_checkpoint(done.path)
    dense = cost_of(open_checkpoint(chain.dense).structure)
    (first,) = (open_checkpoint(p) for p in out.glob("pruned-*-step1of2-*"))
    stages = [step.stage for step in last.meta.lineage]
    assert stages == ["source", "finetune", "prune", "finetune", "prune"]
    spec_of_last = last.meta.lineage[-1].spec
    assert spec_of_last[kind] == 0.4 and spec_of_last["step"] == spec_of_last["steps"] == 2
    assert last.meta.lineage[3].spec["teacher"] == open_checkpoint(chain.dense).meta.digest
    costs = [cost_of(c.structure) for c in (first, last)]
    macs = [cost.macs_per_image / dense.macs_per_image for cost in costs]
    parameters = [cost.parameters / dense.parameters for cost in costs]
    assert 1 > macs[0] > macs[1] and 1 > parameters[0] > parameters[1]
    if kind != "ratio":
        assert 0.38 <= (macs if kind == "macs" else parameters)[1] <= 0.4
    else:
        assert last.structure.embed_dim == pytest.approx(0.6 * 96, abs=2)
    again = prune_in_steps(source, spec, StepsSpec(steps=2, train=SHORT), out)
    assert (again.path, again.fresh) == (done.path, False)


def test_a_model_without_a_checkpoint_has_no_teacher(tmp_path: Path, chain: TinyChain) -> None:
    source = SourceSpec(model=MICRO, weights="random", data=chain.data, target=chain.target)
    with pytest.raises(DgpruneError, match="--steps needs a fine-tuned checkpoint"):
        prune_in_steps(
            source,
            PruneSpec(criterion="hessian", ranking="global", refit=False),
            StepsSpec(steps=2),
            tmp_path / "out",
        )


def test_steps_exclude_a_plan_and_a_speedup() -> None:
    source = SourceSpec(model=MICRO, data="rotated-digits", target="rot75")
    others = [{"plan": Plan(width=(0,), blocks=())}, {"aim": Aim(speedup=2)}]
    for other in others:
        with pytest.raises(DgpruneError, match="leave --steps out"):
            Asked(
                source=source,
                spec=PruneSpec(criterion="hessian", ranking="global", refit=False),
                steps=StepsSpec(steps=2),
                **other,  # type: ignore[arg-type]
            )


@pytest.mark.parametrize(("steps", "macs"), [(2, 0.5), (4, 0.3), (4, 0.1)])
def test_steps_with_the_defaults_end_at_the_shape_of_one_cut(steps: int, macs: float) -> None:
    """ViT-Tiny's sizes, default ranking and limits, without training: only the shapes."""
    name = "vit_tiny_patch16_224"
    dense = structure_of(create(name, num_classes=7, image_size=112), name)
    spec = PruneSpec(
        criterion="random",
        ranking="isomorphic",
        budget=Budget(kind="macs", value=macs),
        limits=FOR_COST,
        refit=False,
    )
    asked = StepsSpec(steps=steps)
    at_once = make_plan(_random(dense), dense, "isomorphic", spec.budget, FOR_COST)
    once = structure_after(at_once, dense)
    current = dense
    for step in range(1, steps + 1):
        target = _target(spec, asked, step)
        plan = make_plan(_random(current), current, "isomorphic", target, FOR_COST, dense)
        current = structure_after(plan, current)
    whole = cost_of(dense).macs_per_image
    assert macs - 0.02 <= cost_of(current).macs_per_image / whole <= macs
    assert abs(current.embed_dim - once.embed_dim) <= FOR_COST.align_width
    units = [sum(b.mlp_hidden for b in structure.blocks) for structure in (current, once)]
    assert units[0] == pytest.approx(units[1], rel=0.35)


def _random(structure: Structure) -> UnitScores:
    rng = np.random.default_rng(0)
    heads = tuple(rng.random((b.num_heads, b.head_dim)) for b in structure.blocks)
    mlp = tuple(rng.random(b.mlp_hidden) for b in structure.blocks)
    return UnitScores(width=rng.random(structure.embed_dim), qk=heads, value=heads, mlp=mlp)


def test_a_budget_under_the_floors_is_refused_before_any_training(
    chain: TinyChain, tmp_path: Path
) -> None:
    source = SourceSpec(model=str(chain.dense), data=chain.data, target=chain.target)
    spec = PruneSpec(
        criterion="l2",
        budget=Budget(kind="macs", value=0.01),
        limits=FOR_COST,
        ranking="global",
        refit=False,
    )
    with pytest.raises(DgpruneError, match="the floors alone cost"):
        prune_in_steps(source, spec, StepsSpec(steps=3, train=SHORT), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_steps_of_torch_pruning_remove_what_the_ratio_says(
    chain: TinyChain, tmp_path: Path
) -> None:
    source = SourceSpec(model=str(chain.dense), data=chain.data, target=chain.target)
    budget = Budget(kind="ratio", value=0.5)
    spec = PruneSpec(
        criterion="l1", ranking="local", budget=budget, engine="torch-pruning", refit=False
    )
    done = prune_in_steps(source, spec, StepsSpec(steps=2, train=SHORT), tmp_path / "out")
    structure = open_checkpoint(done.path).structure
    assert structure.embed_dim == pytest.approx(48, abs=1)
    assert {b.mlp_hidden for b in structure.blocks} <= {191, 192, 193}


def test_a_model_cut_before_keeps_its_name(chain: TinyChain, tmp_path: Path) -> None:
    source = SourceSpec(model=str(chain.pruned), data=chain.data, target=chain.target)
    spec = PruneSpec(
        criterion="l2", budget=Budget(kind="ratio", value=0.2), ranking="global", refit=False
    )
    done = prune_in_steps(source, spec, StepsSpec(steps=2, train=SHORT), tmp_path / "out")
    assert open_checkpoint(done.path).meta.label == "taylor-50+l2-20-step2of2"
