"""What a vision transformer is made of, and what it costs; no torch needed."""

from dataclasses import dataclass

_LARGEST = 1 << 20


def _require_sizes(owner: object, names: tuple[str, ...]) -> None:
    """Raises ValueError where a size is not one: a file may say anything."""
    for name in names:
        if not 1 <= getattr(owner, name) <= _LARGEST:
            raise ValueError(f"{name} must be between 1 and {_LARGEST}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Widths of one transformer block, after pruning."""

    num_heads: int
    head_dim: int
    mlp_hidden: int

    def __post_init__(self) -> None:
        _require_sizes(self, ("num_heads", "head_dim", "mlp_hidden"))

    @property
    def attention_dim(self) -> int:
        """Channels of each of q, k and v: heads times the dimension of a head."""
        return self.num_heads * self.head_dim


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """The shape of a (pruned) model: all that is needed to rebuild it, except the weights.

    `model` is the timm name, `image_size` and `patch_size` are in pixels, `prefix_tokens` counts
    class and distillation tokens, `classifiers` the output layers (two for distilled DeiT).
    """

    model: str
    image_size: int
    patch_size: int
    num_classes: int
    embed_dim: int
    prefix_tokens: int
    classifiers: int
    qkv_bias: bool
    layer_scale: bool
    class_position: bool
    absolute_position: bool = True
    relative_position: bool = False
    blocks: tuple[Block, ...]

    def __post_init__(self) -> None:
        sizes = ("image_size", "patch_size", "num_classes", "embed_dim", "classifiers")
        _require_sizes(self, sizes)
        if self.prefix_tokens < 0 or self.image_size % self.patch_size:
            raise ValueError("prefix_tokens must be 0 or more, image_size a multiple of patch_size")

    @property
    def patches(self) -> int:
        """Patches of one image."""
        return (self.image_size // self.patch_size) ** 2

    @property
    def tokens(self) -> int:
        """Tokens that run through the blocks, per image."""
        return self.patches + self.prefix_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCost:
    """Cost of one image: multiply-accumulates and weights, derived from the structure alone."""

    macs_per_image: int
    parameters: int


def cost_of(structure: Structure) -> ModelCost:
    """Cost of `structure`, counted analytically.

    MACs count every matrix product (patch embedding, qkv, both attention products, proj, MLP,
    classifier), as `torch.utils.flop_counter` does (which reports two FLOPs per MAC).
    """
    width, tokens = structure.embed_dim, structure.tokens
    embedding = 3 * structure.patch_size**2 * width
    macs = structure.patches * embedding
    macs += structure.classifiers * width * structure.num_classes
    positions = structure.patches + (structure.prefix_tokens if structure.class_position else 0)
    positions = positions if structure.absolute_position else 0
    parameters = embedding + width + width * (structure.prefix_tokens + positions)
    parameters += structure.classifiers * (width + 1) * structure.num_classes + 2 * width
    for block in structure.blocks:
        attention = block.attention_dim
        macs += tokens * (4 * width * attention + 2 * width * block.mlp_hidden)
        macs += 2 * tokens**2 * attention
        parameters += 4 * width * attention + 2 * width * block.mlp_hidden
        parameters += (3 * attention if structure.qkv_bias else 0) + 2 * width + block.mlp_hidden
        if structure.relative_position:
            side = structure.image_size // structure.patch_size
            parameters += ((2 * side - 1) ** 2 + 3) * block.num_heads
        parameters += 4 * width + (2 * width if structure.layer_scale else 0)
    return ModelCost(macs_per_image=macs, parameters=parameters)
