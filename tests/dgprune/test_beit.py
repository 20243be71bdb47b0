"""BEiT's plain form: the same function as timm's, loadable from timm's weights."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from timm.models.beit import Beit

from dgprune.beit import plain
from dgprune.errors import DgpruneError
from dgprune.models import blocks_of, create_timm, set_fused_attention
from dgprune.weights import load_timm

NAME = "beit_base_patch16_224"
IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def stock(size: int = 64) -> Beit:
    torch.manual_seed(0)
    model = create_timm(NAME, num_classes=5, img_size=size)
    assert isinstance(model, Beit)
    with torch.no_grad():
        for parameter in model.parameters():  # timm starts tables, biases and scales near 0
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model.eval()


@pytest.mark.parametrize("fused", [True, False])
def test_the_plain_form_gives_the_same_logits(fused: bool) -> None:
    model = stock()
    set_fused_attention(model, fused)
    with torch.no_grad():
        expected = model(IMAGES)
        torch.testing.assert_close(plain(model)(IMAGES), expected, atol=1e-4, rtol=1e-4)
    assert blocks_of(model)[0].gamma_1 is None
    assert blocks_of(model)[0].attn.fused_attn is fused


def test_weights_of_timms_form_are_loaded(tmp_path: Path) -> None:
    model = stock()
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    file = str(tmp_path / "w.safetensors")
    with pytest.raises(DgpruneError, match="relative_position_bias_table"):
        load_timm(NAME, file, num_classes=5, image_size=64, seed=0)
    model = stock(224)
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    loaded = load_timm(NAME, file, num_classes=5, image_size=None, seed=0)
    with torch.no_grad():
        big = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(loaded(big), model(big), atol=1e-4, rtol=1e-4)
    small = load_timm(NAME, file, num_classes=3, image_size=64, seed=0)
    assert blocks_of(small)[0].attn.relative_position_bias_table.shape == (52, 12)
    assert small(IMAGES).shape == (2, 3)
