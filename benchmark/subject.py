"""What `CHECKPOINT|ARTEFACT` means: an opened file, and how to run it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmark.runtimes import Runtime
from benchmark.runtimes.onnxruntime import OnnxRuntime
from dgprune.artefact import is_artefact, open_artefact
from dgprune.errors import DgpruneError
from dgprune.records import RuntimeSpec, Subject


@dataclass(frozen=True, kw_only=True)
class OpenSubject:
    """A file to measure: `batch` is "dynamic" or the only batch size it takes."""

    subject: Subject
    file: Path
    batch: str
    runtime_name: str
    open: Callable[[RuntimeSpec], Runtime]


def open_subject(path: Path) -> OpenSubject:
    """The artefact or checkpoint in folder `path`; raises DgpruneError where it is neither."""
    if is_artefact(path):
        return _artefact(path)
    if (path / "meta.json").is_file():
        return _checkpoint(path)
    raise DgpruneError(f"{path} is neither an artefact (dgprune export) nor a checkpoint folder")


def _artefact(path: Path) -> OpenSubject:
    opened = open_artefact(path)
    sidecar = opened.artefact
    subject = Subject(
        label=sidecar.label,
        sha256=sidecar.sha256,
        size_bytes=sidecar.size_bytes,
        format=sidecar.format,
        precision=sidecar.precision,
        structure=sidecar.structure,
        origin=sidecar.origin,
        lineage=sidecar.lineage,
    )
    return OpenSubject(
        subject=subject,
        file=opened.file,
        batch=sidecar.batch,
        runtime_name="onnxruntime",
        open=lambda spec: OnnxRuntime(opened.file, spec),
    )


def _checkpoint(path: Path) -> OpenSubject:
    from benchmark.runtimes.torch_eager import TorchEager  # torch takes a second to import
    from dgprune.checkpoint import WEIGHTS, load_model, open_checkpoint

    checkpoint = open_checkpoint(path)
    meta = checkpoint.meta
    subject = Subject(
        label=meta.label,
        sha256=meta.weights_sha256,
        size_bytes=(path / WEIGHTS).stat().st_size,
        format="safetensors",
        precision="fp32",
        structure=checkpoint.structure,
        origin=meta.origin,
        lineage=meta.lineage,
    )
    return OpenSubject(
        subject=subject,
        file=path / WEIGHTS,
        batch="dynamic",
        runtime_name="torch",
        open=lambda spec: TorchEager(load_model(checkpoint), spec),
    )
