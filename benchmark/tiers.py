"""How long and how precisely each tier measures (latency protocol, version 1)."""

from dgprune.errors import DgpruneError
from dgprune.records import BenchSpec

TIERS = ("smoke", "default")


def tier(name: str, seed: int) -> BenchSpec:
    """The spec of a tier; raises DgpruneError for an unknown one.

    `smoke` is for a quick look (2 % half-width), `default` for a table (0.5 %).
    """
    if name == "smoke":
        return BenchSpec(
            tier=name,
            warmup_s=0.5,
            warmup_iterations=50,
            warmup_blocks=12,
            block_s=0.02,
            block_iterations=(10, 200),
            rounds=(12, 40),
            cell_s=20.0,
            half_width=0.02,
            seed=seed,
        )
    if name == "default":
        return BenchSpec(
            tier=name,
            warmup_s=3.0,
            warmup_iterations=50,
            warmup_blocks=60,
            block_s=0.1,
            block_iterations=(10, 200),
            rounds=(12, 60),
            cell_s=180.0,
            half_width=0.005,
            seed=seed,
        )
    raise DgpruneError(f"--tier {name!r} is none of {', '.join(TIERS)}")
