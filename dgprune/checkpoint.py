"""A checkpoint folder: structure.json, weights.safetensors and meta.json; no pickle."""

from dataclasses import dataclass
from pathlib import Path

from dgprune.errors import DgpruneError
from dgprune.lineage import LineageStep, Origin
from dgprune.models import Transformer, Weights, describe, rebuild, structure_of
from dgprune.schema import (
    canonical_json,
    decode,
    encode,
    file_sha256,
    read_json,
    seal,
    unseal,
)
from dgprune.structure import Structure

SCHEMA = 1
META, STRUCTURE, WEIGHTS = "meta.json", "structure.json", "weights.safetensors"


@dataclass(frozen=True, kw_only=True)
class CheckpointMeta:
    """What a checkpoint is and where it comes from."""

    schema: int
    digest: str
    label: str
    weights_sha256: str
    structure_sha256: str
    lineage: tuple[LineageStep, ...]
    origin: Origin


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """An opened checkpoint folder; the weights stay on disk until `load_model`."""

    path: Path
    meta: CheckpointMeta
    structure: Structure


def save_checkpoint(
    folder: Path,
    model: Transformer,
    *,
    digest: str,
    label: str,
    lineage: tuple[LineageStep, ...],
    origin: Origin,
) -> None:
    """Writes `model` into `folder`; `meta.json` carries digests of the other two files."""
    from safetensors.torch import save

    structure = structure_of(model, origin.model)
    state: Weights = {
        key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()
    }
    # Through bytes: the library's own writer hides what the operating system refused.
    (folder / WEIGHTS).write_bytes(save(state))
    (folder / STRUCTURE).write_text(canonical_json(structure) + "\n", encoding="utf-8")
    meta = CheckpointMeta(
        schema=SCHEMA,
        digest=digest,
        label=label,
        weights_sha256=file_sha256(folder / WEIGHTS),
        structure_sha256=file_sha256(folder / STRUCTURE),
        lineage=lineage,
        origin=origin,
    )
    (folder / META).write_text(canonical_json(seal(encode(meta))) + "\n", encoding="utf-8")


def is_checkpoint(path: Path) -> bool:
    """Whether `path` looks like a checkpoint folder."""
    return (path / META).is_file()


def open_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in `path`; raises DgpruneError where a part is missing, changed or newer."""
    if not is_checkpoint(path):
        raise DgpruneError(
            f"{path} is not a checkpoint folder; name one that dgprune finetune or prune made"
        )
    where = str(path / META)
    meta = decode(CheckpointMeta, unseal(read_json(path / META), SCHEMA, where=where), where=where)
    for name, expected in ((STRUCTURE, meta.structure_sha256), (WEIGHTS, meta.weights_sha256)):
        if not (path / name).is_file():
            raise DgpruneError(f"{path / name} is missing; restore it or make the checkpoint again")
        if file_sha256(path / name) != expected:
            raise DgpruneError(
                f"{path / name} was changed or torn after it was written; make it again"
            )
    structure = decode(Structure, read_json(path / STRUCTURE), where=str(path / STRUCTURE))
    return Checkpoint(path=path, meta=meta, structure=structure)


def load_model(checkpoint: Checkpoint) -> Transformer:
    """The model of a checkpoint, in evaluation mode.

    Raises DgpruneError where the weights are not those of the structure.
    """
    from dgprune.weights import read_weights

    structure = checkpoint.structure
    model = rebuild(structure, read_weights(checkpoint.path / WEIGHTS))
    if describe(model, structure.model) != structure:
        raise DgpruneError(
            f"{checkpoint.path / STRUCTURE} does not describe its weights; restore it"
        )
    return model


def load(path: str | Path) -> Transformer:
    """The model in the checkpoint folder `path`: `model = dgprune.load(path)`."""
    return load_model(open_checkpoint(Path(path)))


def timm_weights(path: str | Path) -> Weights:
    """The weights in the checkpoint folder `path`, under the names that timm gives them."""
    from dgprune.timm_form import timm_state_dict

    checkpoint = open_checkpoint(Path(path))
    return timm_state_dict(load_model(checkpoint), checkpoint.structure.model)
