"""Options of `dgprune prune`: what to remove, by which score, down to which budget."""

from pathlib import Path
from typing import Annotated

import typer

Criterion = Annotated[
    str | None, typer.Option(help="fisher, hessian, taylor, l1, l2, random (default: fisher).")
]
Ranking = Annotated[
    str | None, typer.Option(help="global, local or isomorphic (default: isomorphic).")
]
Engine = Annotated[
    str | None,
    typer.Option(
        help="dgprune, or torch-pruning, as the paper: hessian, global and no refit are the "
        "defaults then (default: dgprune)."
    ),
]
Ratio = Annotated[float | None, typer.Option(help="Share of all units to remove (default: 0.5).")]
Macs = Annotated[float | None, typer.Option(help="Or: share of the MACs to keep.")]
Params = Annotated[float | None, typer.Option(help="Or: share of the weights to keep.")]
Speedup = Annotated[
    float | None, typer.Option(help="Or: speedup to reach, as measured on --runtime.")
]
LatencyMs = Annotated[
    float | None,
    typer.Option(help="Or: median latency in ms that the file must not exceed, likewise."),
]
Plan = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Or: a saved plan.json, applied as it is.")
]
Runtime = Annotated[
    str | None,
    typer.Option(
        help="onnxruntime, openvino or tensorrt: sets --align, and is what --speedup and "
        "--latency-ms are measured on (there default: onnxruntime)."
    ),
]
Batch = Annotated[
    int | None, typer.Option(help="Batch size of --speedup or --latency-ms (default: 1).")
]
Threads = Annotated[
    int | None, typer.Option(help="Threads of --speedup or --latency-ms (default: 1).")
]
Steps = Annotated[int, typer.Option(help="Cuts, with training under the dense model between them.")]
Schedule = Annotated[
    str | None, typer.Option(help="How --steps share the cut: cubic, linear (default: cubic).")
]
StepEpochs = Annotated[int | None, typer.Option(help="Epochs between two of --steps (default: 1).")]
StepLr = Annotated[
    float | None, typer.Option(help="Learning rate between --steps (default: 1e-4).")
]
Augmentation = Annotated[
    str | None, typer.Option(help="Between --steps: photo, style, glyph, none (default: photo).")
]
StepPrecision = Annotated[
    str | None, typer.Option(help="auto, fp32 or bf16 between --steps (default: auto).")
]
StepDistillWeight = Annotated[
    float | None, typer.Option(help="The dense model's share between --steps (default: 0.5).")
]
StepTemperature = Annotated[
    float | None, typer.Option(help="Temperature between --steps (default: 3).")
]
StepFeatureWeight = Annotated[
    float | None, typer.Option(help="Weight of the dense features between --steps (default: 0).")
]
StepFeatureBlocks = Annotated[
    int | None, typer.Option(help="Blocks whose tokens that compares (default: 1, the last).")
]
Align = Annotated[str | None, typer.Option(help="Multiples, such as width=32,head_dim=8,mlp=32.")]
Floor = Annotated[
    str | None, typer.Option(help="Least sizes, such as width=64,heads=2,head_dim=16,mlp=64.")
]
ScoreImages = Annotated[
    int | None, typer.Option(help="Source images the gradients are taken on (default: 256).")
]
Refit = Annotated[
    bool | None,
    typer.Option(
        "--refit/--no-refit", help="Fit what is left to the dense layers (default: --refit)."
    ),
]
RefitImages = Annotated[
    int | None, typer.Option(help="Source images the refit sees (default: 1024).")
]
ScaleAttention = Annotated[
    str, typer.Option(help="keep the divisor of q k, or reset it as timm does (ablation).")
]
DropDependency = Annotated[
    str | None, typer.Option(help="residual: miss one shortcut on purpose (ablation).")
]
