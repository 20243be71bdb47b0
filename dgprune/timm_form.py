"""The way back to timm: a model's weights under timm's own names, and BEiT as timm makes it."""

from typing import cast

import dgprune.torchvision_shim  # noqa: F401 - makes timm importable

import torch
from timm.models.beit import Beit
from torch import nn

from dgprune.errors import DgpruneError
from dgprune.models import Transformer, Weights, blocks_of, create_timm


def timm_state_dict(model: Transformer, name: str) -> Weights:
    """The weights of `model` (timm name `name`) under timm's names; pruned shapes stay pruned.

    ViT and DeiT have those names already. BEiT gets `q_bias` and `v_bias` back, and layer scales of
    one, since the true ones are folded into proj and fc2; the bias of the keys, which no softmax
    sees, is left out.
    """
    state = {key: value.detach() for key, value in model.state_dict().items()}
    if not isinstance(model, Beit):
        return state
    with torch.device("meta"):
        names = create_timm(name).state_dict().keys()
    for index in range(len(model.blocks)):
        block = f"blocks.{index}"
        query, _, value = state.pop(f"{block}.attn.qkv.bias").chunk(3)
        state |= {f"{block}.attn.q_bias": query, f"{block}.attn.v_bias": value}
        for gamma in ("gamma_1", "gamma_2"):
            if f"{block}.{gamma}" in names:
                state[f"{block}.{gamma}"] = torch.ones(len(state[f"{block}.norm1.weight"]))
    return {key: value.contiguous() for key, value in state.items()}


def stock_beit(model: Beit, name: str) -> Beit:
    """Timm's own BEiT with the weights of a plain one; its MLPs may be pruned, nothing else.

    Raises DgpruneError where width or attention are pruned: timm's BEiT cannot have that.
    """
    size = model.patch_embed.img_size
    stock = cast(Beit, create_timm(name, num_classes=model.num_classes, img_size=size)).eval()
    for new, old in zip(blocks_of(stock), blocks_of(model), strict=True):
        hidden = old.mlp.fc1.out_features
        new.mlp.fc1 = nn.Linear(new.mlp.fc1.in_features, hidden)
        new.mlp.fc2 = nn.Linear(hidden, new.mlp.fc2.out_features)
    try:
        stock.load_state_dict(timm_state_dict(model, name))
    except RuntimeError:
        raise DgpruneError(
            f"timm's {name} cannot have pruned attention or width, so torch-pruning cannot go on "
            "from here; use --engine dgprune"
        ) from None
    return stock
