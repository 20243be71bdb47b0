"""The paper-faithful engine: torch-pruning's own results, its habits made visible."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch_pruning as tp

from dgprune.checkpoint import load_model, open_checkpoint
from dgprune.errors import DgpruneError
from dgprune.models import Transformer, blocks_of, create, structure_of
from dgprune.progress import SILENT
from dgprune.schema import encode
from dgprune.source import SourceSpec
from dgprune.structure import cost_of
from pruning.budgets import Budget
from pruning.criteria import Calibration
from pruning.plan import everything
from pruning.prune_checkpoint import prune
from pruning.spec import TORCH_PRUNING_CRITERIA, PruneSpec, usual_of
from pruning.surgery import apply_plan
from pruning.torch_pruning_engine import _accumulate, prune_by_torch_pruning, skipped_axes
from tests.conftest import MICRO, TinyChain


@pytest.fixture
def calibration() -> Calibration:
    generator = torch.Generator().manual_seed(3)
    return Calibration(
        inputs=torch.randn(6, 3, 32, 32, generator=generator),
        labels=torch.randint(0, 10, (6,), generator=generator),
    )


@pytest.mark.parametrize("criterion", TORCH_PRUNING_CRITERIA)
def test_every_criterion_prunes_to_a_model_that_runs(
    micro: Transformer, calibration: Calibration, criterion: str
) -> None:
    pruned = prune_by_torch_pruning(
        micro,
        MICRO,
        criterion=criterion,
        ranking="global",
        ratio=0.5,
        calibration=calibration if criterion in ("hessian", "taylor") else None,
        seed=0,
    )
    after = structure_of(pruned, MICRO)
    assert cost_of(after).macs_per_image < cost_of(structure_of(micro, MICRO)).macs_per_image
    assert pruned(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert structure_of(micro, MICRO).embed_dim == 96


def test_taylor_takes_the_gradients_of_one_batch_in_parts(micro: Transformer) -> None:
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(21, 3, 32, 32, generator=generator)
    labels = torch.randint(0, 10, (21,), generator=generator)
    sizes: list[int] = []
    hook = micro.patch_embed.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    given = Calibration(inputs=inputs, labels=labels)
    _accumulate(micro, None, "taylor", given, SILENT)
    found = {name: p.grad.clone() for name, p in micro.named_parameters() if p.grad is not None}
    hook.remove()
    assert sizes == [8, 8, 5]
    micro.zero_grad()
    torch.nn.functional.cross_entropy(micro(inputs), labels).backward()
    for name, parameter in micro.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-6)


def test_its_hessian_keeps_one_sample_only(micro: Transformer, calibration: Calibration) -> None:
    """The known fault this engine keeps: adding samples before the last one changes nothing."""
    last = Calibration(inputs=calibration.inputs[-1:], labels=calibration.labels[-1:])
    kept = [
        prune_by_torch_pruning(
            micro, MICRO, criterion="hessian", ranking="global", ratio=0.4, calibration=c, seed=0
        ).state_dict()
        for c in (calibration, last)
    ]
    assert kept[0].keys() == kept[1].keys()
    assert all(torch.equal(kept[0][key], kept[1][key]) for key in kept[0])


def test_it_is_torch_prunings_own_pruner(micro: Transformer) -> None:
    ours = prune_by_torch_pruning(
        micro, MICRO, criterion="l2", ranking="local", ratio=0.5, calibration=None, seed=0
    )
    after = structure_of(ours, MICRO)
    assert (after.embed_dim, {b.mlp_hidden for b in after.blocks}) == (48, {192})
    assert tp.__version__


def test_a_group_that_stayed_whole_is_named(micro: Transformer) -> None:
    before = structure_of(micro, MICRO)
    pruned = prune_by_torch_pruning(
        micro, MICRO, criterion="l1", ranking="global", ratio=0.95, calibration=None, seed=0
    )
    after = structure_of(pruned, MICRO)
    named = skipped_axes(before, after)
    whole = sum(b.attention_dim == 96 for b in after.blocks) + (after.embed_dim == 96)
    whole += sum(b.mlp_hidden == 384 for b in after.blocks)
    assert len(named) == whole
    assert skipped_axes(before, before) == [
        "width",
        *(f"{kind} of block {i}" for i in range(4) for kind in ("attention", "MLP")),
    ]


def test_both_engines_write_the_same_kind_of_checkpoint(chain: TinyChain, tmp_path: Path) -> None:
    source = SourceSpec(model=str(chain.dense), data=chain.data, target=chain.target)
    budget = Budget(kind="ratio", value=0.5)
    for engine, label in (("dgprune", "l2-50"), ("torch-pruning", "tp-l2-50")):
        spec = PruneSpec(
            criterion="l2",
            ranking="global",
            refit=False,
            budget=budget,
            engine=engine,  # type: ignore[arg-type]
        )
        checkpoint = open_checkpoint(prune(source, spec, tmp_path / "out").path)
        assert checkpoint.meta.label == label
        assert load_model(checkpoint)(torch.zeros(1, 3, 32, 32)).shape == (1, 2)


@pytest.mark.parametrize(
    "change", [{"refit": True}, {"budget": Budget(kind="macs", value=0.5)}, {"engine": "tp"}]
)
def test_what_it_cannot_do_is_refused(change: dict[str, object]) -> None:
    usual = encode(usual_of("torch-pruning"))
    with pytest.raises(DgpruneError, match="--engine"):
        PruneSpec(**{**usual, "engine": "torch-pruning", **change})


def test_it_has_no_fisher() -> None:
    with pytest.raises(DgpruneError, match="no criterion 'fisher'"):
        PruneSpec(engine="torch-pruning", criterion="fisher", ranking="global", refit=False)


@pytest.mark.parametrize("ranking", ["global", "local", "isomorphic"])
def test_of_timms_own_beit_only_the_mlps_are_pruned(ranking: str) -> None:
    """What the paper's numbers for BEiT most probably are: no hook sees the qkv of timm's BEiT."""
    name = "beit_base_patch16_224"
    torch.manual_seed(0)
    model = create(name, num_classes=10, image_size=32)
    pruned = prune_by_torch_pruning(
        model,
        name,
        criterion="l2",
        ranking=ranking,  # type: ignore[arg-type]
        ratio=0.5,
        calibration=None,
        seed=0,
    )
    before, after = structure_of(model, name), structure_of(pruned, name)
    assert skipped_axes(before, after) == ["width", *(f"attention of block {i}" for i in range(12))]
    assert all(0 < block.mlp_hidden < 3072 for block in after.blocks)
    old, new = blocks_of(model)[5].attn, blocks_of(pruned)[5].attn
    assert torch.equal(new.qkv.weight, old.qkv.weight)
    assert pruned(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_timms_beit_cannot_go_on_from_a_pruned_attention() -> None:
    name = "beit_base_patch16_224"
    model = create(name, num_classes=10, image_size=32)
    structure = structure_of(model, name)
    plan = everything(structure)
    plan = replace(plan, width=plan.width[:384])
    with pytest.raises(DgpruneError, match="use --engine dgprune"):
        prune_by_torch_pruning(
            apply_plan(model, plan, name),
            name,
            criterion="l2",
            ranking="local",
            ratio=0.5,
            calibration=None,
            seed=0,
        )


def test_skipped_groups_are_kept_beside_the_checkpoint(chain: TinyChain, tmp_path: Path) -> None:
    source = SourceSpec(model=str(chain.dense), data=chain.data, target=chain.target)
    spec = PruneSpec(
        criterion="l1",
        budget=Budget(kind="ratio", value=0.95),
        engine="torch-pruning",
        ranking="global",
        refit=False,
    )
    done = prune(source, spec, tmp_path / "out")
    before, after = (open_checkpoint(path).structure for path in (chain.dense, done.path))
    assert done.summary["skipped_groups"] == skipped_axes(before, after)
    assert done.summary["skipped_groups"]
