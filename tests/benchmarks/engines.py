"""What either engine does to Base-size models: `python -m tests.benchmarks.engines FOLDER`.

Six models, random weights, 224 px, five criteria, three ratios, both engines: kept sizes, skipped
groups, MACs by torch's FlopCounterMode and by this project's count, parameters, wall time. Rows are
appended to FOLDER/engines.jsonl, so that an interrupted run goes on; FOLDER/README.md is the table.
"""

import json
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from dgprune.models import Transformer, create, set_fused_attention, structure_of
from dgprune.skeleton import skeleton
from dgprune.structure import Block, Structure, cost_of
from pruning.budgets import Budget, Limits
from pruning.criteria import NEEDS_IMAGES, Calibration, score
from pruning.groups import trace_groups
from pruning.planning import make_plan
from pruning.spec import TORCH_PRUNING_CRITERIA
from pruning.surgery import apply_plan
from pruning.torch_pruning_engine import prune_by_torch_pruning, skipped_axes
from tests.pruning.test_equivalence import zero_and_drop

MODELS = (
    "vit_base_patch16_224",
    "deit_base_patch16_224",
    "deit_base_distilled_patch16_224",
    "deit3_base_patch16_224",
    "beit_base_patch16_224",
    "beitv2_base_patch16_224",
)
RATIOS = (0.5, 0.75, 0.95)
ENGINES = ("dgprune", "torch-pruning")
IMAGES = 4
Row = dict[str, Any]


def measure(model: Transformer, name: str, engine: str, criterion: str, ratio: float) -> Row:
    """One row: the model pruned by one engine under the paper's global ranking."""
    generator = torch.Generator().manual_seed(0)
    calibration = Calibration(
        inputs=torch.randn(IMAGES, 3, 224, 224, generator=generator),
        labels=torch.arange(IMAGES),
    )
    start = time.perf_counter()
    pruned = _prune(model, name, engine, criterion, ratio, calibration)
    wall_s = time.perf_counter() - start
    before, after = structure_of(model, name), structure_of(pruned, name)
    return {
        "model": name,
        "engine": engine,
        "criterion": criterion,
        "ratio": ratio,
        "width": after.embed_dim,
        "attention": [b.attention_dim for b in after.blocks],
        "heads": [b.num_heads for b in after.blocks],
        "mlp": [b.mlp_hidden for b in after.blocks],
        "skipped": skipped_axes(before, after),
        "macs": cost_of(after).macs_per_image,
        "macs_kept": cost_of(after).macs_per_image / cost_of(before).macs_per_image,
        "parameters": cost_of(after).parameters,
        "tensors_parameters": sum(p.numel() for p in pruned.parameters()),
        "wall_s": wall_s,
    }


def _prune(
    model: Transformer,
    name: str,
    engine: str,
    criterion: str,
    ratio: float,
    calibration: Calibration,
) -> Transformer:
    if engine == "torch-pruning":
        return prune_by_torch_pruning(
            model,
            name,
            criterion=criterion,
            ranking="global",
            ratio=ratio,
            calibration=calibration if criterion in NEEDS_IMAGES else None,
            seed=0,
        )
    scores = score(trace_groups(model), criterion, calibration, seed=0)  # type: ignore[arg-type]
    budget = Budget(kind="ratio", value=ratio)
    plan = make_plan(scores, structure_of(model, name), "global", budget, Limits())
    return apply_plan(model, plan, name)


def flop_counter_macs(structure: Structure) -> int:
    """Multiply-accumulates of one image as torch counts them in a model of that structure.

    Attention is unfused: the counter does not know the fused kernel of the CPU.
    """
    model = skeleton(structure).eval()
    set_fused_attention(model, False)
    counter = FlopCounterMode(display=False)
    pixels = torch.zeros(1, 3, structure.image_size, structure.image_size, device="meta")
    with counter, torch.no_grad():
        model(pixels)
    return int(counter.get_total_flops()) // 2


def structure_of_row(row: Row) -> Structure:
    """The structure that a row's sizes describe."""
    with torch.device("meta"):
        dense = structure_of(create(row["model"], num_classes=7, image_size=224), row["model"])
    sizes = zip(row["heads"], row["attention"], row["mlp"], strict=True)
    blocks = tuple(Block(num_heads=h, head_dim=a // h, mlp_hidden=m) for h, a, m in sizes)
    return replace(dense, embed_dim=row["width"], blocks=blocks)


def span(values: Iterable[int]) -> str:
    """`8` or `2-8`."""
    low, high = min(values := list(values)), max(values)
    return str(low) if low == high else f"{low}-{high}"


def zero_group_error(name: str) -> Row:
    """Largest change of a logit, relative to the largest logit, when zeroed units are removed."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(2, 3, 224, 224, generator=generator)
    row: Row = {"model": name}
    for what in ("head", "head dimension", "mlp"):
        torch.manual_seed(0)
        model = create(name, num_classes=7, image_size=224)
        with torch.no_grad():
            for parameter in model.parameters():  # timm starts biases at 0
                parameter.add_(torch.randn_like(parameter) * 0.02)
        pruned = apply_plan(model, zero_and_drop(model, structure_of(model, name), what), name)
        errors = []
        for fused in (True, False):
            for either in (model, pruned):
                set_fused_attention(either, fused)
            with torch.no_grad():
                before, after = model(images), pruned(images)
            errors.append(float((before - after).abs().max() / before.abs().max()))
        row[what] = max(errors)
    return row


def zero_group_table(rows: list[Row]) -> str:
    """The errors of `zero_group_error` as Markdown."""
    lines = [
        "",
        "## Zeroed units removed by the engine `dgprune`",
        "",
        "A head, four dimensions of every head, or sixteen MLP units are set to zero in every "
        "block and then removed: the largest change of a logit, relative to the largest logit, the "
        "worse of fused and unfused attention. 1e-4 is allowed.",
        "",
        "| model | head | head dimension | MLP |",
        "| --- | ---: | ---: | ---: |",
    ]
    for row in rows:
        cells = [f"{row[what]:.1e}" for what in ("head", "head dimension", "mlp")]
        lines.append(f"| {row['model']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def table(rows: list[Row]) -> str:
    """The rows as a page of Markdown."""
    lines = [
        "# What either engine does to Base-size models",
        "",
        "Random weights, 224 px, global ranking, alignment and floors of a ratio budget; "
        f"{IMAGES} images for the gradient criteria. Written by "
        "`python -m tests.benchmarks.engines reports/published/engines`.",
        "The smallest and the largest block are shown; `engines.jsonl` has all of them.",
        "",
        "| model | engine | criterion | ratio | width | attention | MLP | whole | MACs kept | "
        "G MACs | counted by torch | M weights | s |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        cells = (
            row["model"].removesuffix("_patch16_224"),
            row["engine"],
            row["criterion"],
            f"{row['ratio']:g}",
            row["width"],
            span(row["attention"]),
            span(row["mlp"]),
            f"{len(row['skipped'])} of 25",
            f"{row['macs_kept']:.1%}",
            f"{row['macs'] / 1e9:.3f}",
            f"{flop_counter_macs(structure_of_row(row)) / 1e9:.3f}",
            f"{row['parameters'] / 1e6:.2f}",
            f"{row['wall_s']:.1f}",
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def main(folder: Path) -> None:
    """Measures what is missing, then writes the page."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "engines.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    done = {(r["model"], r["engine"], r["criterion"], r["ratio"]) for r in rows}
    for name in MODELS:
        torch.manual_seed(0)
        model = create(name, num_classes=7, image_size=224)
        for engine in ENGINES:
            for criterion in TORCH_PRUNING_CRITERIA:
                for ratio in RATIOS:
                    if (name, engine, criterion, ratio) in done:
                        continue
                    rows.append(measure(model, name, engine, criterion, ratio))
                    with path.open("a") as file:
                        file.write(json.dumps(rows[-1]) + "\n")
                    print(name, engine, criterion, ratio, f"{rows[-1]['wall_s']:.1f} s", flush=True)
    errors = [zero_group_error(name) for name in MODELS]
    (folder / "README.md").write_text(table(rows) + zero_group_table(errors))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
