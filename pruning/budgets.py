"""What the options of `prune` mean: one budget, and the limits that go with it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from dgprune.errors import DgpruneError, require_between
from dgprune.schema import nearest

BudgetKind = Literal["ratio", "macs", "params"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What the plan must meet: the share of units that goes, or the share of the cost that stays.

    `macs` and `params` are kept fractions, met within `tolerance` of the cost from below; where no
    plan stays at or above `not_below`, nothing goes.
    """

    kind: BudgetKind
    value: float
    tolerance: float = 0.02
    not_below: float = 0.0

    def __post_init__(self) -> None:
        if self.kind == "ratio" and not 0 <= self.value < 1:
            raise DgpruneError(
                f"--ratio {self.value} is outside [0, 1); 0.5 removes half of the units"
            )
        if self.kind != "ratio" and not 1e-6 <= self.value <= 1:
            raise DgpruneError(
                f"--{self.kind} {self.value} must be a number from 1e-06 to 1; 0.4 keeps 40 %"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The least that an axis keeps, and the multiple that its kept size is rounded to.

    A `min_width` of 0 stands for a quarter of the dense width.
    """

    min_width: int = 16
    min_heads: int = 1
    min_head_dim: int = 8
    min_mlp: int = 8
    align_width: int = 8
    align_head_dim: int = 4
    align_mlp: int = 8

    def __post_init__(self) -> None:
        for name in self.__slots__:
            least = 0 if name == "min_width" else 1
            kind, axis = name.split("_", 1)
            option = f"--{'floor' if kind == 'min' else 'align'} {axis}"
            require_between(option, getattr(self, name), least, 1e6)


# A ratio may ask for 95 %, so its floors are low; a cost budget keeps what runtimes are fast on,
# and lets narrow blocks pay for a wide stream (docs/decisions/0006).
FOR_RATIO = Limits()
FOR_COST = Limits(
    min_width=0,  # a quarter of the dense width
    min_heads=1,
    min_head_dim=16,
    min_mlp=16,
    align_width=32,
    align_head_dim=8,
    align_mlp=16,
)

# Multiples that a runtime is fast on, whatever the budget (docs/decisions/0008).
ALIGNED_FOR = {
    "onnxruntime": {"align_width": 16, "align_head_dim": 8, "align_mlp": 16},
    "openvino": {"align_width": 16, "align_head_dim": 8, "align_mlp": 16},
    "tensorrt": {"align_width": 32, "align_head_dim": 8, "align_mlp": 32},
}


def budget_from(options: Mapping[str, object]) -> Budget:
    """The one budget that was given, or ratio 0.5; a speedup and a plan stand for themselves."""
    given = {name: value for name, value in options.items() if value is not None}
    if len(given) > 1:
        names = " and ".join(f"--{name}" for name in given)
        raise DgpruneError(f"{names} exclude each other; give one of them")
    for kind in ("ratio", "macs", "params"):
        value = given.get(kind)
        if isinstance(value, float):
            return Budget(kind=kind, value=value)
    return Budget(kind="ratio", value=0.5)


def limits_from(
    budget: Budget,
    align: str | None,
    floor: str | None,
    runtime: str | None = None,
    *,
    for_speed: bool = False,
) -> Limits:
    """The defaults of the budget's kind and of the runtime, changed by `--align` and `--floor`."""
    limits = FOR_RATIO if budget.kind == "ratio" and not for_speed else FOR_COST
    if runtime is not None and runtime not in ALIGNED_FOR:
        raise DgpruneError(
            f"--runtime {runtime!r} must be one of {', '.join(ALIGNED_FOR)}"
            f"{nearest(runtime, list(ALIGNED_FOR))}"
        )
    changes = {
        **(ALIGNED_FOR[runtime] if runtime else {}),
        **_pairs("--align", "align_", align),
        **_pairs("--floor", "min_", floor),
    }
    return replace(limits, **changes)


def _pairs(option: str, prefix: str, text: str | None) -> dict[str, int]:
    known = [name.removeprefix(prefix) for name in Limits.__slots__ if name.startswith(prefix)]
    found: dict[str, int] = {}
    for pair in (text or "").split(",") if text else []:
        name, _, value = pair.strip().partition("=")
        if name not in known or not (value.isascii() and value.isdigit()):
            raise DgpruneError(
                f"{option} {pair!r} must be one of {', '.join(f'{n}=N' for n in known)}"
                f"{nearest(name, known) if name not in known else ''}"
            )
        found[prefix + name] = int(value)
    return found
