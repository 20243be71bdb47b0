"""An artefact folder: the file that is shipped, and `artefact.json`, which says what it is."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from dgprune.errors import DgpruneError
from dgprune.lineage import LineageStep, Origin
from dgprune.node_kinds import Kind
from dgprune.schema import decode, digest, file_sha256, read_json, unseal
from dgprune.structure import Structure

SCHEMA = 1
SIDECAR = "artefact.json"


Format = Literal["onnx", "openvino", "tensorrt"]
Precision = Literal["fp32", "fp16", "bf16", "int8"]
FORMATS: tuple[Format, ...] = get_args(Format)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainParity:
    """Images of one source domain: how many, equal top-1 classes, and right ones before and after.

    `correct_reference` counts PyTorch's right answers, `correct` the artefact's.
    """

    images: int
    top1_agreements: int
    correct_reference: int
    correct: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How far the artefact's outputs are from PyTorch's, on real images of the source domains.

    `runtime` computed the artefact's side; `executed` counts its layers by precision.
    With preprocessing inside, outputs are probabilities.
    """

    images: int
    max_abs_logit_difference: float
    min_cosine: float
    top1_agreements: int
    domains: dict[str, DomainParity] = field(default_factory=dict)
    runtime: str = "onnxruntime"
    executed: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The source images that ranges were measured on: how many, and the digest of their keys."""

    images: int
    domains: tuple[str, ...]
    keys_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """The sidecar: identity, input, provenance and parity of what is shipped.

    `files` holds the SHA-256 of every file where there is more than one; `sha256` is then that of
    the list. `layers` counts convolutions and matrix products by precision. Where `preprocessing`,
    the file takes pixels [batch, px, px, 3] of 0 to 255 and gives probabilities. `built_with` says
    what an engine is tied to: versions, device, flags; `node_kinds` what the nodes were for that it
    was built from, for it keeps no graph.
    """

    schema: int
    label: str
    digest: str
    file: str
    sha256: str
    size_bytes: int
    format: str
    precision: str
    opset: int
    input_name: str
    output_name: str
    batch: str
    structure: Structure
    origin: Origin
    lineage: tuple[LineageStep, ...]
    parity: Parity
    tools: dict[str, str]
    files: dict[str, str] = field(default_factory=dict)
    layers: dict[str, int] = field(default_factory=dict)
    kept_fp32: tuple[str, ...] = ()
    calibration: Calibration | None = None
    with_preprocessing: bool = False
    built_with: dict[str, str] = field(default_factory=dict)
    node_kinds: dict[str, Kind] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenArtefact:
    """A sidecar and the file it speaks of, whose bytes were compared with it."""

    artefact: Artefact
    file: Path


def is_artefact(path: Path) -> bool:
    """Whether `path` looks like an artefact folder."""
    return (path / SIDECAR).is_file()


def open_artefact(path: Path) -> OpenArtefact:
    """The artefact in folder `path`; raises DgpruneError where its bytes are not the sidecar's."""
    sidecar = path / SIDECAR
    if not sidecar.is_file():
        raise DgpruneError(f"{path} is not an artefact folder; name one that dgprune export made")
    body = unseal(read_json(sidecar), SCHEMA, where=str(sidecar))
    artefact = decode(Artefact, body, where=str(sidecar))
    file = path / artefact.file
    for name, expected in (artefact.files or {artefact.file: artefact.sha256}).items():
        part = path / name
        if Path(name).name != name or not part.is_file():
            raise DgpruneError(
                f"{sidecar} names {name!r}, which is not in its folder; export again"
            )
        if file_sha256(part) != expected:
            raise DgpruneError(
                f"{part} is not what {SIDECAR} describes (SHA-256 differs); export again"
            )
    listed = artefact.files
    if listed and (artefact.file not in listed or identity(listed) != artefact.sha256):
        raise DgpruneError(f"{sidecar} contradicts itself about its files; export again")
    return OpenArtefact(artefact=artefact, file=file)


def identity(files: dict[str, str]) -> str:
    """The one SHA-256 of an artefact: that of its file, or of the digests of all of them."""
    return next(iter(files.values())) if len(files) == 1 else digest(files)
