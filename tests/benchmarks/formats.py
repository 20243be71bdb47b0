"""Every format and precision of some checkpoints: parity, bytes, seconds, agreement, proof.

    python -m tests.benchmarks.formats run DATA OUT IMAGES CHECKPOINT...
    python -m tests.benchmarks.formats table OUT FOLDER

Parity is checked on IMAGES of each source domain. `run` goes on where it stopped; `table` writes
FOLDER/README.md and the rows beside it.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmark.subject import open_subject, proven
from dgprune.artefact import PRECISIONS, open_artefact
from dgprune.checkpoint import open_checkpoint
from dgprune.errors import DgpruneError
from dgprune.records import RuntimeSpec
from dgprune.schema import encode
from dgprune.structure import cost_of
from export.export_checkpoint import export
from export.spec import ExportSpec

ROWS = "formats.jsonl"
RUNTIMES = {"onnx": ("onnxruntime", "openvino"), "openvino": ("openvino",)}


def run(data: str, out: Path, images: int, checkpoints: list[str]) -> None:
    """A row a checkpoint, format and precision."""
    out.mkdir(parents=True, exist_ok=True)
    rows = out / ROWS
    done = (
        {_key(json.loads(line)) for line in rows.read_text().splitlines()} if rows.exists() else ()
    )
    for checkpoint in checkpoints:
        for form in RUNTIMES:
            for precision in PRECISIONS:
                spec = ExportSpec(
                    checkpoint=checkpoint,
                    data=data,
                    format=form,  # type: ignore[arg-type]
                    precision=precision,
                    parity_images=images,
                )
                row = {"checkpoint": Path(checkpoint).name, "format": form, "precision": precision}
                if _key(row) not in done:
                    row |= _row(spec, out)
                    with rows.open("a") as file:
                        file.write(json.dumps(row) + "\n")
                    print(row["checkpoint"], form, precision, row.get("error", "done"), flush=True)


def _key(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(row[name] for name in ("checkpoint", "format", "precision"))


def _row(spec: ExportSpec, out: Path) -> dict[str, Any]:
    opened = open_checkpoint(Path(spec.checkpoint))
    row: dict[str, Any] = {
        "model": opened.meta.origin.model,
        "label": opened.meta.label,
        "macs_per_image": cost_of(opened.structure).macs_per_image,
    }
    start = time.monotonic()
    try:
        folder = export(spec, out / "store").path
    except DgpruneError as error:
        return row | {"error": str(error)}
    row["export_s"] = time.monotonic() - start
    sidecar = open_artefact(folder).artefact
    row |= {
        "size_bytes": sidecar.size_bytes,
        "parity": encode(sidecar.parity),
        "kept_fp32": list(sidecar.kept_fp32),
        "sha256": sidecar.sha256,
    }
    return row | {"proofs": {name: _proof(folder, name) for name in RUNTIMES[spec.format]}}


def _proof(folder: Path, runtime: str) -> dict[str, Any]:
    """What the runtime executes, as `evaluate` and `bench` would store it, or why it does not."""
    subject = open_subject(folder)
    spec = RuntimeSpec(name=runtime, provider="cpu", threads=1, allow_fallback=True)
    try:
        with subject.run(spec) as loaded:
            return dict(encode(proven(loaded, subject, spec, 2)))
    except DgpruneError as error:
        return {"error": str(error).replace(str(folder), folder.name)}


def table(out: Path, folder: Path) -> None:
    """Writes the page, and the rows beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    text = (out / ROWS).read_text()
    (folder / ROWS).write_text(text)
    rows = [json.loads(line) for line in text.splitlines()]
    lines = [
        "# Formats and precisions",
        "",
        "Written by `python -m tests.benchmarks.formats`. Parity against PyTorch in fp32 on real "
        "images of the source domains; *same class* is the share of images whose top-1 class "
        "stays; *executed* is what each runtime read back on this machine: layers by precision "
        "(attention blocks that run as one kernel in brackets), and what differs from the file; "
        "*kept* counts nodes that int8 or fp16 left in fp32, int8 the most sensitive ones. "
        "A checkpoint `pruned-...` was not trained after the cut, `-0` lost nothing; BEiT has "
        "random weights, so that its parity is of arithmetic only.",
        "",
        "| model | checkpoint | file | MB | seconds | largest difference | smallest cosine "
        "| same class | kept | executed |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    rows.sort(key=_place)
    lines += [_line(row) for row in rows]
    (folder / "README.md").write_text("\n".join(lines) + "\n")


def _place(row: dict[str, Any]) -> tuple[Any, ...]:
    """Where a row stands: by family, what was done to the model, format and precision."""
    family = ("vit", "deit", "beit").index(row["model"].split("_")[0])
    stage = ("pruned", "fine").index("fine" if "finetuned" in row["checkpoint"] else "pruned")
    pruned = "dense" not in row["checkpoint"]
    order = (pruned, stage, len(row["checkpoint"]))
    return (family, *order, row["format"], PRECISIONS.index(row["precision"]))


def _line(row: dict[str, Any]) -> str:
    name, checkpoint = f"{row['format']} {row['precision']}", row["checkpoint"].rsplit("-", 1)[0]
    if "error" in row:
        return f"| {row['model']} | {checkpoint} | {name} | | | | | | | refused: {row['error']} |"
    parity = row["parity"]
    same = parity["top1_agreements"] / parity["images"]
    executed = "; ".join(f"{name}: {_executed(proof)}" for name, proof in row["proofs"].items())
    return (
        f"| {row['model']} | {checkpoint} | {name} | {row['size_bytes'] / 1e6:.2f} | "
        f"{row['export_s']:.0f} | {parity['max_abs_logit_difference']:.1e} | "
        f"{parity['min_cosine']:.6f} | {same:.2%} of {parity['images']} | "
        f"{len(row['kept_fp32']) or ''} | {executed} |"
    )


def _executed(proof: dict[str, Any]) -> str:
    if "error" in proof:
        return str(proof["error"])
    kinds = [layer["precision"] for layer in proof["layers"]]
    told = " + ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds)))
    fused = f" ({proof['fused_attention']})" if proof["fused_attention"] else ""
    missed = f", {proof['fallbacks'][0]}" if proof["fallbacks"] else ""
    return f"{told}{fused}{missed}"


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command == "table":
        table(Path(arguments[0]), Path(arguments[1]))
    else:
        run(arguments[0], Path(arguments[1]), int(arguments[2]), arguments[3:])
