"""What really runs: read back from the loaded model, never taken from the request."""

from collections import Counter
from dataclasses import dataclass

from dgprune.errors import DgpruneError

# Products of two activations, which may run in int8 too but have no weights.
_OF_ACTIVATIONS = ("MatMul", "ScaledDotProductAttention")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A convolution or matrix product as it is executed."""

    name: str
    kind: str
    precision: str
    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a runtime executes of one file.

    `layers` are the convolutions and matrix products, in the runtime's order; `nodes` counts all
    nodes by provider; `fused_attention` counts attention blocks that run as one kernel; `fallbacks`
    says, a line each, where this is not what was asked for.
    """

    asked: str
    layers: tuple[Layer, ...]
    nodes: dict[str, int]
    fused_attention: int
    fallbacks: tuple[str, ...] = ()

    @property
    def precisions(self) -> dict[str, int]:
        """Layers by executed precision."""
        return dict(Counter(layer.precision for layer in self.layers))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What should run: the file's precision, its layers by precision, and the provider.

    `layers` is empty where the file does not say.
    """

    precision: str
    layers: dict[str, int]
    provider: str


def prove(
    wanted: Wanted, layers: tuple[Layer, ...], nodes: dict[str, int], fused_attention: int = 0
) -> Proof:
    """The proof, with every way in which it misses `wanted`."""
    return Proof(
        asked=wanted.precision,
        layers=layers,
        nodes=nodes,
        fused_attention=fused_attention,
        fallbacks=(*_of_precision(wanted, layers), *_of_provider(wanted, nodes)),
    )


def _of_precision(wanted: Wanted, layers: tuple[Layer, ...]) -> list[str]:
    if not layers:
        return ["no convolution or matrix product was seen"]
    found = Counter(layer.precision for layer in layers)
    if wanted.precision == "int8":
        expected = wanted.layers.get("int8", 1)
        quantised = sum(
            layer.precision == "int8" and layer.kind not in _OF_ACTIVATIONS for layer in layers
        )
        if quantised < expected:
            return [f"{quantised} of {expected} quantised layers run in int8"]
        return []
    excused = sum(n for kind, n in wanted.layers.items() if kind != wanted.precision)
    others = {kind: n for kind, n in found.items() if kind != wanted.precision}
    if sum(others.values()) > excused:
        told = ", ".join(f"{n} in {kind}" for kind, n in sorted(others.items()))
        return [f"asked {wanted.precision}, but of {len(layers)} layers run {told}"]
    return []


def _of_provider(wanted: Wanted, nodes: dict[str, int]) -> list[str]:
    elsewhere = {name: n for name, n in nodes.items() if name != wanted.provider}
    if not elsewhere:
        return []
    told = ", ".join(f"{n} on {name}" for name, n in sorted(elsewhere.items()))
    return [f"asked {wanted.provider}, but of {sum(nodes.values())} nodes run {told}"]


def require(proof: Proof, *, allow_fallback: bool, what: str) -> Proof:
    """`proof`, unless something else runs than was asked for and that is not allowed."""
    if proof.fallbacks and not allow_fallback:
        raise DgpruneError(
            f"{what}: {'; '.join(proof.fallbacks)}; choose another precision or runtime, "
            "or allow it with --allow-fallback, which every report will say"
        )
    return proof
