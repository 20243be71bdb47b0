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
    form: Annotated[
        str, typer.Option("--format", metavar="F", help="onnx, openvino or tensorrt.")
    ] = "onnx",
    precision: Annotated[str, typer.Option(metavar="P", help="fp32, fp16, bf16 or int8.")] = "fp32",
    batch: Annotated[
        str, typer.Option(metavar="dynamic|N", help="Batch size of the graph.")
    ] = "dynamic",
    largest_batch: Annotated[
        int | None,
        typer.Option(help="Largest batch of a dynamic TensorRT engine (default: 128)."),
    ] = None,
    build: Annotated[
        int | None,
        typer.Option(help="Number of a TensorRT engine built anew, for claims (default: 1)."),
    ] = None,
    opset: Annotated[int, typer.Option(help="ONNX opset, 18 to 20.")] = 20,
    with_preprocessing: Annotated[
        bool,
        typer.Option("--with-preprocessing", help="Pixels in, probabilities out: uint8, NHWC."),
    ] = False,
    parity_images: Annotated[
        int, typer.Option(min=1, help="Images a source domain that parity is checked on.")
    ] = 256,
    calibration_images: Annotated[
        int | None, typer.Option(help="Source images for int8 and fp16 ranges (default: 256).")
    ] = None,
    calibrate_on: Annotated[
        str, typer.Option(metavar="DOMAINS", help="Source domains for it, comma-separated.")
    ] = "",
    skip_bad_images: SkipBadImages = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> Done:
    """Export to ONNX, OpenVINO or TensorRT, check against PyTorch; prints the artefact's folder."""
    from export.export_checkpoint import export as run
    from export.spec import ExportSpec

    spec = ExportSpec(
        checkpoint=checkpoint,
        data=data,
        format=form,  # type: ignore[arg-type]
        precision=precision,  # type: ignore[arg-type]
        batch=batch,
        opset=opset,
        with_preprocessing=with_preprocessing,
        parity_images=parity_images,
        calibration_images=256 if calibration_images is None else calibration_images,
        calibrate_on=tuple(calibrate_on.split(",")) if calibrate_on else (),
        largest_batch=128 if largest_batch is None else largest_batch,
        build=1 if build is None else build,
        skip_bad_images=skip_bad_images,
    )
    spec.refuse_idle(
        {
            "--calibration-images": calibration_images,
            "--calibrate-on": calibrate_on,
            "--largest-batch": largest_batch,
            "--build": build,
        }
    )
    return finish(run(spec, out, progress_for(quiet=quiet)), as_json=as_json)
