"""The stage `export`: from a checkpoint to an artefact folder, its parity checked."""

from dataclasses import replace
from pathlib import Path

from dgprune.artefact import SIDECAR, Artefact, OpenArtefact, Parity, open_artefact
from dgprune.checkpoint import open_checkpoint
from dgprune.data import open_data
from dgprune.lineage import next_step
from dgprune.progress import SILENT, Progress
from dgprune.runtimes.tensorrt import load_tensorrt
from dgprune.schema import Json, canonical_json, encode, seal
from dgprune.source import split_for
from dgprune.stage import Done, run_stage
from dgprune.store import store_at
from export.at_parity import written_at_parity
from export.folder_readme import folder_readme
from export.source_images import SourceImages
from export.spec import ExportSpec
from export.write import prepare

README = "README.md"


def export(spec: ExportSpec, out: Path, progress: Progress = SILENT) -> Done:
    """An artefact folder under `out`: the file, its sidecar, and a README that runs it."""
    checkpoint = open_checkpoint(Path(spec.checkpoint))
    meta = checkpoint.meta
    data = open_data(spec.data)
    split = split_for(data, meta.origin.target, meta.origin)
    asked = spec.asked()
    if spec.format == "tensorrt":  # an engine is of one version and one device
        asked["built_with"] = load_tensorrt("--format tensorrt")[1]
    step = next_step(meta.lineage, "export", asked, meta.origin)
    images = SourceImages(spec=spec, data=data, split=split, origin=meta.origin, progress=progress)
    images.require_enough()

    def build(folder: Path) -> None:
        progress.line(
            f"exporting {meta.label} to {spec.format} {spec.precision}, batch {spec.batch}"
        )
        sidecar = written_at_parity(folder, prepare(checkpoint, spec, images), images, step)
        (folder / README).write_text(folder_readme(sidecar), encoding="utf-8")
        sealed = canonical_json(seal(encode(sidecar))) + "\n"
        (folder / SIDECAR).write_text(sealed, encoding="utf-8")
        progress.line(_parity_line(sidecar.parity))

    with store_at(out) as store:
        split.require_intact(store)
        name = f"artefact-{meta.label}-{spec.format}-{spec.precision}-{step.digest[:12]}"
        done = run_stage(store / name, open_artefact, build, progress)
    return replace(done, summary=_summary(open_artefact(done.path).artefact))


def export_onnx(
    checkpoint: Path, spec: ExportSpec, out: Path, progress: Progress = SILENT
) -> OpenArtefact:
    """The ONNX artefact of the checkpoint in folder `checkpoint`, opened."""
    asked = replace(spec, checkpoint=str(checkpoint), format="onnx")
    return open_artefact(export(asked, out, progress).path)


def _parity_line(parity: Parity) -> str:
    return (
        f"parity on {parity.images} images: largest difference of an output "
        f"{parity.max_abs_logit_difference:.1e}, top-1 equal on {parity.top1_agreements}"
    )


def _summary(artefact: Artefact) -> Json:
    """What was written, for `--json`."""
    return {
        "label": artefact.label,
        "file": artefact.file,
        "sha256": artefact.sha256,
        "size_bytes": artefact.size_bytes,
        "format": artefact.format,
        "precision": artefact.precision,
        "parity": encode(artefact.parity),
    }
