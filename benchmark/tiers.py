"""How long and how precisely each tier measures (latency protocol, version 1)."""

from dataclasses import replace

from dgprune.errors import DgpruneError
from dgprune.timing import BenchSpec

_SMOKE = BenchSpec(
    tier="smoke",
    warmup_s=0.5,
    warmup_iterations=50,
    warmup_blocks=12,
    block_s=0.02,
    block_iterations=(10, 200),
    rounds=(12, 40),
    cell_s=20.0,
    half_width=0.02,
    seed=0,
)
_DEFAULT = BenchSpec(
    tier="default",
    warmup_s=3.0,
    warmup_iterations=50,
    warmup_blocks=60,
    block_s=0.04,
    block_iterations=(10, 200),
    rounds=(12, 24),
    cell_s=60.0,
    half_width=0.01,
    seed=0,
    replicas=6,
)
_CLAIM = replace(
    _DEFAULT,
    tier="claim",
    block_s=0.1,
    rounds=(12, 60),
    cell_s=180.0,
    half_width=0.005,
    replicas=10,
)
TIERS = {spec.tier: spec for spec in (_SMOKE, _DEFAULT, _CLAIM)}


def tier(name: str, seed: int) -> BenchSpec:
    """The spec of a tier; raises DgpruneError for an unknown one.

    `smoke` is for a quick look (2 % half-width, one process), `default` for a table (1 %, six
    processes), `claim` for what is published (0.5 %, ten).
    """
    if name not in TIERS:
        raise DgpruneError(f"--tier {name!r} is none of {', '.join(TIERS)}")
    return replace(TIERS[name], seed=seed)
