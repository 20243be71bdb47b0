"""What `MODEL|CHECKPOINT --data D --target DOMAIN` means: a model, its data and the split.

With `--protocol paper-like` there is no target.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dgprune.checkpoint import Checkpoint, is_checkpoint, load_model, open_checkpoint
from dgprune.data import DataSet, Split, open_data
from dgprune.data.split import deal, leave_one_out, paper_like, require_protocol
from dgprune.errors import MAX_SEED, DgpruneError, require_between
from dgprune.lineage import LineageStep, Origin, next_step
from dgprune.models import Transformer, bare_model, preprocessing_of
from dgprune.schema import encode
from dgprune.weights import PRETRAINED, identify, load_timm


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec:
    """Names of the model and of the data, as a user types them.

    `weights` ("pretrained" where None) and `image_size` belong to a timm name; a checkpoint has
    its own. `protocol` None is the checkpoint's, or leave-one-domain-out, which needs a `target`.
    """

    model: str
    data: str
    target: str | None = None
    protocol: str | None = None
    weights: str | None = None
    image_size: int | None = None
    seed: int = 0
    split_seed: int = 0
    skip_bad_images: bool = False

    def where(self) -> tuple[str, ...]:
        """The options that name data and protocol, for a command line."""
        target = () if self.target is None else ("--target", self.target)
        protocol = () if self.protocol is None else ("--protocol", self.protocol)
        return ("--data", self.data, *target, *protocol)


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
        split = split_for(data, spec.target, checkpoint.meta.origin, spec.protocol)
        return _from_checkpoint(checkpoint, data, split)
    if not spec.model or path.is_dir() or "/" in spec.model:
        raise DgpruneError(
            f"{spec.model!r} is neither a checkpoint folder nor a timm name; name one of them"
        )
    split = deal(data, spec.protocol, spec.target, seed=spec.split_seed)
    return _from_timm(spec, data, split)


def split_for(
    data: DataSet, target: str | None, origin: Origin, protocol: str | None = None
) -> Split:
    """The split a model was made with.

    Raises DgpruneError where `data`, `target` or `protocol` is another than the model's.
    """
    require_protocol(protocol)
    if target:
        data.of_domain(target)
    if (data.name, data.file_digest) != (origin.data_name, origin.data_digest):
        raise DgpruneError(
            f"the model was made with {origin.data_name!r} (files {origin.data_digest[:12]}), "
            f"but --data is {data.name!r} (files {data.file_digest[:12]}); "
            + (
                "the same files under another name: call the folder as before"
                if data.file_digest == origin.data_digest
                else "name the data that it was made with"
            )
        )
    _require_same_protocol(target, origin, protocol)
    split = (
        leave_one_out(data, origin.target, seed=origin.split_seed)
        if origin.target
        else paper_like(data, seed=origin.split_seed)
    )
    if split.digest() != origin.split_digest:
        raise DgpruneError(
            f"the images are dealt to other parts than when the model was made (split "
            f"{split.digest()[:12]}, the model's is {origin.split_digest[:12]}); "
            "use the version of dgprune that made it, or make it again"
        )
    return split


def _require_same_protocol(target: str | None, origin: Origin, protocol: str | None) -> None:
    """Raises DgpruneError where what is held out now is not what was when the model was made."""
    if protocol is not None and protocol != origin.protocol:
        raise DgpruneError(
            f"the model was made under --protocol {origin.protocol}; under {protocol} it would be "
            f"measured on images that it has learnt from; pass --protocol {origin.protocol}"
        )
    if target and not origin.target:
        raise DgpruneError(
            f"the model was made under --protocol {origin.protocol} and has learnt from {target!r};"
            f" remove --target {target}"
        )
    if not target and origin.target:
        raise DgpruneError(
            f"--target is missing; the model was made with {origin.target!r} held out, "
            f"pass --target {origin.target}"
        )
    if target and target != origin.target:
        raise DgpruneError(
            f"the model was made with {origin.target!r} held out, so {target!r} is not unseen; "
            f"pass --target {origin.target}"
        )


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
        target=split.target,
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
