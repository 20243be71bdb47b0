"""Options of `dgprune finetune`, one by one, with their help."""

from typing import Annotated

import typer

Teacher = Annotated[
    str | None,
    typer.Option(metavar="CHECKPOINT", help="Dense model whose outputs are followed."),
]
Epochs = Annotated[int, typer.Option(help="Passes over the source images.")]
LearningRate = Annotated[float, typer.Option("--lr", help="Peak learning rate.")]
BatchSize = Annotated[int, typer.Option(help="Images a step.")]
WeightDecay = Annotated[float, typer.Option(help="Weight decay of AdamW.")]
WarmupEpochs = Annotated[float, typer.Option(help="Epochs of linear warm-up.")]
LabelSmoothing = Annotated[float, typer.Option(help="Smoothing of the labels.")]
ClipNorm = Annotated[float, typer.Option(help="Largest norm of the gradient.")]
DistillWeight = Annotated[
    float | None, typer.Option(help="Share of the teacher in the loss (default: 0.5).")
]
Temperature = Annotated[
    float | None, typer.Option(help="Temperature of the distillation (default: 3).")
]
FeatureWeight = Annotated[
    float, typer.Option(help="Weight of the distance to the teacher's features.")
]
FeatureBlocks = Annotated[
    int,
    typer.Option(help="Blocks, over the depth, whose tokens are compared (1: the last)."),
]
Augmentation = Annotated[str, typer.Option(help="photo, style, glyph or none.")]
Averaging = Annotated[
    str, typer.Option(help="Weights to keep: none (the best evaluation), ema, or swad.")
]
EmaDecay = Annotated[float, typer.Option(help="Decay of --averaging ema.")]
Mixup = Annotated[float, typer.Option(help="Alpha of Mixup; DomainBed has 0.2 (0: off).")]
Coral = Annotated[float, typer.Option(help="Weight of CORAL; DomainBed has 1 (0: off).")]
DomainBalanced = Annotated[
    bool, typer.Option("--domain-balanced", help="As many images of each domain in every step.")
]
LayerDecay = Annotated[
    float, typer.Option(help="Factor of the learning rate from a block to the one below it.")
]
EvaluateEvery = Annotated[int, typer.Option(help="Steps between two evaluations (0: an epoch).")]
Patience = Annotated[
    int, typer.Option(help="Stop after so many evaluations without a better one (0: never).")
]
Precision = Annotated[
    str, typer.Option(help="auto, fp32 or bf16; auto is bf16 on a GPU and fp32 on a CPU.")
]
Selection = Annotated[
    str,
    typer.Option(help="source-val; oracle lets the held-out domain choose, and is marked so."),
]
