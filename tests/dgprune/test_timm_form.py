"""The way back to timm: its own names, its own classes, the same logits."""

import timm
import torch

from dgprune.models import blocks_of, create, create_timm, structure_of
from dgprune.timm_form import timm_state_dict
from pruning.plan import everything
from pruning.surgery import apply_plan

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def jittered(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    model = create(name, num_classes=5, image_size=32)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return model


def test_weights_of_a_dense_model_load_into_timms_own() -> None:
    for name in ("deit3_small_patch16_224", "beit_base_patch16_224", "beitv2_base_patch16_224"):
        model = jittered(name)
        state = timm_state_dict(model, name)  # type: ignore[arg-type]
        stock = create_timm(name, num_classes=5, img_size=32).eval()
        stock.load_state_dict(state)
        with torch.no_grad():
            torch.testing.assert_close(stock(IMAGES), model(IMAGES), rtol=1e-4, atol=1e-5)


def test_beit_gets_its_own_names_back_and_pruned_shapes_stay() -> None:
    name = "beit_base_patch16_224"
    model = create(name, num_classes=5, image_size=32)
    plan = everything(structure_of(model, name))
    width = plan.width[:512]
    pruned = apply_plan(model, type(plan)(width=width, blocks=plan.blocks), name)
    state = timm_state_dict(pruned, name)
    assert state.keys() == timm.create_model(name, num_classes=5).state_dict().keys()
    assert state["blocks.3.gamma_1"].tolist() == [1.0] * 512
    assert state["blocks.3.attn.q_bias"].shape == (768,)
    assert torch.equal(
        state["blocks.3.attn.v_bias"], blocks_of(pruned)[3].attn.qkv.bias.detach()[1536:]
    )
    assert not any(key.endswith("qkv.bias") for key in state)
