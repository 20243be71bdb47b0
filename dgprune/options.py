"""Command-line options that several commands share, written once."""

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[
    str,
    typer.Option(  # by name: typer 0.27.0 takes a metavar that is the name in capitals for it
        "--data",
        metavar="DATA",
        help="rotated-digits, or a folder of the shape domain/class/image.",
    ),
]
Target = Annotated[
    str | None,
    typer.Option(metavar="DOMAIN", help="The domain that is held out; none with paper-like."),
]
Protocol = Annotated[
    str | None,
    typer.Option(
        metavar="P",
        help="leave-one-domain-out, or paper-like: all domains trained on, 20 % of each held out "
        "(default: the checkpoint's, or leave-one-domain-out).",
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar="W",
        help="For a timm name: pretrained, random or FILE.safetensors (default: pretrained).",
    ),
]
ImageSize = Annotated[
    int | None,
    typer.Option(min=8, max=2048, help="Input size in pixels (default: the model's own)."),
]
Out = Annotated[Path, typer.Option(metavar="DIR", help="Folder that takes the result.")]
ChainOut = Annotated[
    Path, typer.Option(metavar="DIR", help="Folder of everything the chain makes.")
]
Records = Annotated[Path, typer.Option(metavar="FILE", help="Records file to append to.")]
Seed = Annotated[int, typer.Option(help="Seed of everything drawn at random.")]
SkipBadImages = Annotated[
    bool,
    typer.Option(
        "--skip-bad-images",
        help="Leave unreadable images, and copies of held-out ones, out instead of stopping.",
    ),
]
RuntimeName = Annotated[
    str | None,
    typer.Option(
        "--runtime",
        metavar="RT",
        help="torch, torch-compile, onnxruntime, openvino or tensorrt (default: by the file).",
    ),
]
Provider = Annotated[
    str | None,
    typer.Option(metavar="P", help="cpu, cuda or tensorrt (default: the runtime's first)."),
]
AllowFallback = Annotated[
    bool,
    typer.Option(
        "--allow-fallback",
        help="Go on where another precision or device runs than asked; reports say so.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.")]
