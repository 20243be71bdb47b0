"""`dgprune export`."""

from pathlib import Path
from typing import Annotated

import typer

from dgprune.options import AsJson, Data, Out, Quiet, SkipBadImages
from dgprune.output import finish
from dgprune.progress import progress_for
from dgprune.stage import Done


def export(
    checkpoint: Annotated[str, typer.Argument(metavar="CHECKPOINT", help="A checkpoint folder.")],
    data: Data,
    out: Out = Path("runs"),
    batch: Annotated[
        str, typer.Option(metavar="dynamic|N", help="Batch size of the graph.")
    ] = "dynamic",
    opset: Annotated[int, typer.Option(help="ONNX opset, 18 to 20.")] = 20,
    parity_images: Annotated[
        int, typer.Option(min=1, help="Images a source domain that parity is checked on.")
    ] = 256,
    skip_bad_images: SkipBadImages = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> Done:
    """Export to ONNX and check it against PyTorch; prints the artefact's folder."""
    from export.onnx_export import ExportSpec, export_onnx
    from export.onnx_graph import OnnxSpec

    spec = ExportSpec(
        checkpoint=checkpoint,
        data=data,
        onnx=OnnxSpec(batch=batch, opset=opset),
        parity_images=parity_images,
        skip_bad_images=skip_bad_images,
    )
    return finish(export_onnx(spec, out, progress_for(quiet=quiet)), as_json=as_json)
