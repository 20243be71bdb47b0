"""What stays: the indices kept on every prunable axis.

A plan is JSON, so it can be read and edited.
"""

from dataclasses import dataclass

from dgprune.errors import DgpruneError
from dgprune.schema import Json, encode
from dgprune.structure import Block, Structure


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockPlan:
    """Kept heads, the kept dimensions of each kept head, and kept MLP units.

    `qk_dims` are dimensions of q and k, `value_dims` of v; both are as many in each kept head.
    """

    heads: tuple[int, ...]
    qk_dims: tuple[tuple[int, ...], ...]
    value_dims: tuple[tuple[int, ...], ...]
    mlp: tuple[int, ...]

    def qk_channels(self, head_dim: int) -> tuple[int, ...]:
        """Kept channels of q and k, in a model whose heads have `head_dim` dimensions."""
        return _channels(self.heads, self.qk_dims, head_dim)

    def value_channels(self, head_dim: int) -> tuple[int, ...]:
        """Kept channels of v, in a model whose heads have `head_dim` dimensions."""
        return _channels(self.heads, self.value_dims, head_dim)


def _channels(
    heads: tuple[int, ...], dims: tuple[tuple[int, ...], ...], head_dim: int
) -> tuple[int, ...]:
    return tuple(
        head * head_dim + dim for head, part in zip(heads, dims, strict=True) for dim in part
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Kept channels of the residual stream, and what each block keeps.

    `width_after` is empty, except in the ablation that misses a residual edge on purpose: then it
    holds the channels that are kept behind that edge, where others should have been.
    """

    width: tuple[int, ...]
    blocks: tuple[BlockPlan, ...]
    width_after: tuple[int, ...] = ()

    def width_at(self, place: int) -> list[int]:
        """Channels of the stream at `place`.

        Attention of block i reads at 2 i and its MLP at 2 i + 1; each writes one place further, and
        the classifier reads at the end.
        """
        behind = bool(self.width_after) and place > 2 * missed_edge(len(self.blocks)) + 1
        return list(self.width_after if behind else self.width)


def plan_json(plan: Plan) -> Json:
    """A plan as it is saved: `width_after` only where an edge was missed."""
    saved: Json = encode(plan)
    if not plan.width_after:
        del saved["width_after"]
    return saved


def missed_edge(depth: int) -> int:
    """The block whose MLP the ablation `--drop-dependency residual` cuts off from its shortcut."""
    return depth // 2


def everything(structure: Structure) -> Plan:
    """The plan that removes nothing."""
    return Plan(
        width=tuple(range(structure.embed_dim)),
        blocks=tuple(
            BlockPlan(
                heads=tuple(range(block.num_heads)),
                qk_dims=(tuple(range(block.head_dim)),) * block.num_heads,
                value_dims=(tuple(range(block.head_dim)),) * block.num_heads,
                mlp=tuple(range(block.mlp_hidden)),
            )
            for block in structure.blocks
        ),
    )


def check(plan: Plan, structure: Structure) -> None:
    """Raises DgpruneError, naming the axis, where `plan` does not fit `structure`."""
    _check_axis("width", plan.width, structure.embed_dim)
    if plan.width_after:
        _check_axis("width_after", plan.width_after, structure.embed_dim)
        if len(plan.width_after) != len(plan.width):
            raise DgpruneError("width_after must keep as many channels as width; correct the plan")
    if len(plan.blocks) != len(structure.blocks):
        raise DgpruneError(
            f"the plan has {len(plan.blocks)} blocks, the model {len(structure.blocks)}"
        )
    for index, (kept, block) in enumerate(zip(plan.blocks, structure.blocks, strict=True)):
        _check_axis(f"heads of block {index}", kept.heads, block.num_heads)
        _check_axis(f"MLP of block {index}", kept.mlp, block.mlp_hidden)
        dims = [*kept.qk_dims, *kept.value_dims]
        equal = len({len(part) for part in dims}) == 1
        if not len(kept.qk_dims) == len(kept.value_dims) == len(kept.heads) or not equal:
            raise DgpruneError(
                f"block {index}: every kept head must keep equally many dimensions; "
                "correct the plan"
            )
        for part in dims:
            _check_axis(f"head dimensions of block {index}", part, block.head_dim)


def _check_axis(axis: str, kept: tuple[int, ...], size: int) -> None:
    if not kept or list(kept) != sorted(set(kept)) or kept[0] < 0 or kept[-1] >= size:
        raise DgpruneError(
            f"{axis}: the plan must keep ascending, distinct indices of 0 to {size - 1}"
        )


def planned(plan: Plan, structure: Structure) -> tuple[int, tuple[Block, ...]]:
    """Width and blocks that `plan` leaves of `structure`."""
    check(plan, structure)
    blocks = tuple(
        Block(num_heads=len(kept.heads), head_dim=len(kept.qk_dims[0]), mlp_hidden=len(kept.mlp))
        for kept in plan.blocks
    )
    return len(plan.width), blocks
