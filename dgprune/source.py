"""What `MODEL|CHECKPOINT --data D --target DOMAIN` means: a model, its data and the split."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dgprune.checkpoint import Checkpoint, is_checkpoint, load_model, open_checkpoint
from dgprune.data import DataSet, Split, leave_one_out, open_data
from dgprune.errors import MAX_SEED, DgpruneError, require_between
from dgprune.lineage import LineageStep, Origin, next_step
from dgprune.models import Transformer, bare_model, preprocessing_of
from dgprune.schema import encode
from dgprune.weights import PRETRAINED, identify, load_timm


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec:
    """Names of the model and of the data, as a user types them.

    `weights` ("pretrained" where None) and `image_size` belong to a timm name; a checkpoint has
    its own.
    """

    model: str
    data: str
    target: str
    weights: str | None = None
    image_size: int | None = None
    seed: int = 0
    split_seed: int = 0
    skip_bad_images: bool = False


@dataclass(frozen=True, kw_only=True)
class Source:
    """An opened source: `load` makes the model when it is first needed."""

    data: DataSet
    split: Split
    origin: Origin
    lineage: tuple[LineageStep, ...]
    label: str
    load: Callable[[], Transformer]


def open_source(spec: SourceSpec) -> Source:
    """Opens model and data; raises DgpruneError where they do not belong together."""
    data = open_data(spec.data)
    path = Path(spec.model)
    if is_checkpoint(path):
        if spec.weights is not None or spec.image_size is not None:
            raise DgpruneError(
                f"{spec.model} is a checkpoint, which has its own weights and image size; "
                "remove --weights and --image-size"
            )
        checkpoint = open_checkpoint(path)
        split = split_for(data, spec.target, checkpoint.meta.origin)
        return _from_checkpoint(checkpoint, data, split)
    if not spec.model or path.is_dir() or "/" in spec.model:
        raise DgpruneError(
            f"{spec.model!r} is neither a checkpoint folder nor a timm name; name one of them"
        )
    return _from_timm(spec, data, leave_one_out(data, spec.target, seed=spec.split_seed))


def split_for(data: DataSet, target: str, origin: Origin) -> Split:
    """The split a model was made with; raises DgpruneError where `data` or `target` is another."""
    data.of_domain(target)
    if (data.name, data.file_digest) != (origin.data_name, origin.data_digest):
        raise DgpruneError(
            f"the model was made with {origin.data_name!r} (files {origin.data_digest[:12]}), "
            f"but --data is {data.name!r} (files {data.file_digest[:12]})"
        )
    if target != origin.target:
        raise DgpruneError(
            f"the model was made with {origin.target!r} held out, so {target!r} is not unseen; "
            f"pass --target {origin.target}"
        )
    return leave_one_out(data, target, seed=origin.split_seed)


def _from_checkpoint(checkpoint: Checkpoint, data: DataSet, split: Split) -> Source:
    return Source(
        data=data,
        split=split,
        origin=checkpoint.meta.origin,
        lineage=checkpoint.meta.lineage,
        label=checkpoint.meta.label,
        load=lambda: load_model(checkpoint),
    )


def _from_timm(spec: SourceSpec, data: DataSet, split: Split) -> Source:
    bare = bare_model(spec.model)
    require_between("--seed", spec.seed, 0, MAX_SEED)
    weights = spec.weights or PRETRAINED
    name, identity = identify(weights, spec.seed)
    size = spec.image_size or bare.patch_embed.img_size[0]
    patch = bare.patch_embed.patch_size[0]
    if size % patch:
        raise DgpruneError(f"--image-size {size} must be a multiple of the patch, {patch} px")
    origin = Origin(
        model=spec.model,
        data_name=data.name,
        data_digest=data.file_digest,
        split_digest=split.digest(),
        split_seed=spec.split_seed,
        target=spec.target,
        classes=data.classes,
        preprocessing=preprocessing_of(bare, size),
    )
    made = {
        "model": spec.model,
        "weights": name,
        "weights_identity": identity,
        "seed": spec.seed,
        "preprocessing": encode(origin.preprocessing),
        "classes": len(data.classes),
    }

    def load() -> Transformer:
        return load_timm(
            spec.model,
            weights,
            num_classes=len(data.classes),
            image_size=spec.image_size,
            seed=spec.seed,
        )

    return Source(
        data=data,
        split=split,
        origin=origin,
        lineage=(next_step((), "source", made, origin),),
        label="dense",
        load=load,
    )
