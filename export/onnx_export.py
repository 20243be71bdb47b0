"""The stage `export`: from a checkpoint to an artefact folder."""

from dataclasses import dataclass
from pathlib import Path

from dgprune.artefact import SCHEMA, SIDECAR, Artefact, Parity, open_artefact
from dgprune.checkpoint import Checkpoint, load_model, open_checkpoint
from dgprune.data import DataSet, Purpose, Split, load_images, open_data, to_input
from dgprune.data.images import Loading
from dgprune.data.preprocessing import Floats
from dgprune.data.split import balanced
from dgprune.environment import installed_libraries
from dgprune.errors import DgpruneError
from dgprune.lineage import Origin, next_step
from dgprune.models import Transformer
from dgprune.progress import SILENT, Progress
from dgprune.schema import canonical_json, encode, file_sha256, seal
from dgprune.source import split_for
from dgprune.stage import Done, run_stage
from dgprune.store import store_at
from dgprune.structure import cost_of
from export.onnx_graph import INPUT, OUTPUT, OnnxSpec, count_weights, onnx_graph
from export.parity import check_parity

FILE = "model.onnx"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSpec:
    """What to export and the data whose source images parity is checked on."""

    checkpoint: str
    data: str
    onnx: OnnxSpec = OnnxSpec()
    parity_images: int = 256
    skip_bad_images: bool = False


def export_onnx(spec: ExportSpec, out: Path, progress: Progress = SILENT) -> Done:
    """An artefact folder under `out`: model.onnx and its sidecar, parity checked."""
    checkpoint = open_checkpoint(Path(spec.checkpoint))
    meta = checkpoint.meta
    data = open_data(spec.data)
    split = split_for(data, meta.origin.target, meta.origin)
    asked = {"format": "onnx", "precision": "fp32", **encode(spec.onnx)}
    step = next_step(
        meta.lineage, "export", {**asked, "parity_images": spec.parity_images}, meta.origin
    )

    def build(folder: Path) -> None:
        progress.line(
            f"exporting {meta.label} to ONNX, opset {spec.onnx.opset}, batch {spec.onnx.batch}"
        )
        model = load_model(checkpoint)
        _write_graph(folder / FILE, model, checkpoint, spec.onnx)
        inputs = _parity_inputs(data, split, spec, meta.origin, progress)
        parity = check_parity(model, folder / FILE, inputs, spec.onnx.batch)
        sidecar = Artefact(
            schema=SCHEMA,
            label=meta.label,
            digest=step.digest,
            file=FILE,
            sha256=file_sha256(folder / FILE),
            size_bytes=(folder / FILE).stat().st_size,
            format="onnx",
            precision="fp32",
            opset=spec.onnx.opset,
            input_name=INPUT,
            output_name=OUTPUT,
            batch=spec.onnx.batch,
            structure=checkpoint.structure,
            origin=meta.origin,
            lineage=(*meta.lineage, step),
            parity=parity,
            tools=installed_libraries(),
        )
        (folder / SIDECAR).write_text(canonical_json(seal(encode(sidecar))) + "\n")
        progress.line(_parity_line(parity))

    with store_at(out) as store:
        folder = store / f"artefact-{meta.label}-{step.digest[:12]}"
        return run_stage(folder, open_artefact, build, progress)


def _write_graph(file: Path, model: Transformer, checkpoint: Checkpoint, spec: OnnxSpec) -> None:
    origin = checkpoint.meta.origin
    metadata = {
        "dgprune.checkpoint": checkpoint.meta.digest,
        "dgprune.classes": canonical_json(list(origin.classes)),
        "dgprune.preprocessing": canonical_json(origin.preprocessing),
    }
    graph = onnx_graph(model, spec, metadata)
    expected = cost_of(checkpoint.structure).parameters
    found = count_weights(graph)
    if not expected <= found <= expected * 1.01 + 64:
        raise DgpruneError(
            f"the graph holds {found} weights, the pruned model {expected}: not exported whole"
        )
    file.write_bytes(graph.SerializeToString(deterministic=True))


def _parity_inputs(
    data: DataSet, split: Split, spec: ExportSpec, origin: Origin, progress: Progress
) -> Floats:
    count = spec.parity_images * (len(data.domains) - 1)
    loading = Loading(target=origin.target, skip_bad_images=spec.skip_bad_images, progress=progress)
    chosen = balanced(split.validation, count, seed=0)
    images = load_images(data, chosen, origin.preprocessing, purpose=Purpose.CHECK, loading=loading)
    return to_input(images.pixels, origin.preprocessing)


def _parity_line(parity: Parity) -> str:
    return (
        f"parity on {parity.images} images: largest difference of a logit "
        f"{parity.max_abs_logit_difference:.1e}, top-1 equal on {parity.top1_agreements}"
    )
