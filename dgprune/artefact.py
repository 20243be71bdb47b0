"""An artefact folder: the file that is shipped, and `artefact.json`, which says what it is."""

from dataclasses import dataclass
from pathlib import Path

from dgprune.errors import DgpruneError
from dgprune.lineage import LineageStep, Origin
from dgprune.schema import decode, file_sha256, read_json, unseal
from dgprune.structure import Structure

SCHEMA = 1
SIDECAR = "artefact.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How far the artefact's logits are from PyTorch's, on real images of the source domains."""

    images: int
    max_abs_logit_difference: float
    min_cosine: float
    top1_agreements: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """The sidecar: identity, input, provenance and parity of one shipped file."""

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
    if Path(artefact.file).name != artefact.file or not file.is_file():
        raise DgpruneError(
            f"{sidecar} names {artefact.file!r}, which is not in its folder; export again"
        )
    if file_sha256(file) != artefact.sha256:
        raise DgpruneError(
            f"{file} is not what {SIDECAR} describes (SHA-256 differs); export again"
        )
    return OpenArtefact(artefact=artefact, file=file)
