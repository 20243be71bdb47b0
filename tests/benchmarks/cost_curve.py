"""What each axis of a transformer costs on this machine: one axis cut at a time, and timed.

    python -m tests.benchmarks.cost_curve run MODEL PIXELS OUT
    python -m tests.benchmarks.cost_curve page OUT FOLDER

Width, heads, head dimension and MLP of MODEL (random weights) keep three quarters, half and a
quarter, in steps that the hardware likes and three units less; every file is timed against the
dense one on two runtimes at batch 1, with nothing else running. `run` goes on where it stopped;
`page` writes FOLDER/README.md, the chart and the records.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dgprune.checkpoint import open_checkpoint
from dgprune.errors import DgpruneError
from dgprune.schema import canonical_json
from dgprune.structure import Structure
from pruning.plan import BlockPlan, Plan, plan_json
from tests.benchmarks.cost_curve_page import write_page
from tests.benchmarks.timed import Timing, export, prune

SHARES = (0.75, 0.5, 0.25)
STEPS = {"width": 32, "heads": 1, "head dimension": 8, "MLP": 32}
OFF = 3  # units under a multiple of the step; a whole head is always one
RECORDS = "records.jsonl"


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What every block keeps."""

    width: int
    heads: int
    head_dim: int
    mlp: int


def cuts(dense: Structure) -> Iterator[Sizes]:
    """One axis cut, the others whole: by three shares, on a multiple of the step and beside it."""
    block = dense.blocks[0]
    whole = {
        "width": dense.embed_dim,
        "heads": block.num_heads,
        "head dimension": block.head_dim,
        "MLP": block.mlp_hidden,
    }
    for axis, size in whole.items():
        step = STEPS[axis]
        kept = sorted({max(1, round(size * share / step)) * step for share in SHARES} - {size})
        offs = (0,) if axis == "heads" else (0, OFF)
        for units in reversed(kept):
            for off in offs:
                cut = {**whole, axis: units - off}
                width, heads, head_dim, mlp = cut.values()
                yield Sizes(width=width, heads=heads, head_dim=head_dim, mlp=mlp)


def plan_of(sizes: Sizes, depth: int) -> Plan:
    """The first units of every axis: which they are does not matter to the time."""
    dims = (tuple(range(sizes.head_dim)),) * sizes.heads
    block = BlockPlan(
        heads=tuple(range(sizes.heads)),
        qk_dims=dims,
        value_dims=dims,
        mlp=tuple(range(sizes.mlp)),
    )
    return Plan(width=tuple(range(sizes.width)), blocks=(block,) * depth)


def run(model: str, pixels: str, out: Path) -> None:
    """Makes every file, then times them one after the other."""
    out.mkdir(parents=True, exist_ok=True)
    start = ("--weights", "random", "--image-size", pixels, "--criterion", "l2")
    checkpoint = prune(out / "store", model, *start, "--ratio", "0")
    dense = open_checkpoint(checkpoint).structure
    artefacts = [export(out / "store", checkpoint)]
    for sizes in cuts(dense):
        plan = out / "plan.json"
        plan.write_text(canonical_json(plan_json(plan_of(sizes, len(dense.blocks)))))
        cut = prune(out / "store", str(checkpoint), "--plan", str(plan))
        artefacts.append(export(out / "store", cut))
    timing = Timing(records=out / RECORDS, baseline=artefacts[0])
    for artefact in artefacts:
        timing.time(artefact)


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    try:
        if command == "page":
            write_page(Path(arguments[0]) / RECORDS, Path(arguments[1]))
        else:
            run(arguments[0], arguments[1], Path(arguments[2]))
    except DgpruneError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
