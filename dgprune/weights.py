"""Weights from a hub, from chance, or from a safetensors file; a pickle is never opened."""

from pathlib import Path

import dgprune.torchvision_shim  # noqa: F401 - makes timm importable

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models.beit import Beit
from timm.models.beit import checkpoint_filter_fn as filter_beit
from timm.models.vision_transformer import checkpoint_filter_fn as filter_vit

from dgprune.beit import plain
from dgprune.errors import DgpruneError
from dgprune.models import (
    Transformer,
    Weights,
    create,
    create_timm,
    require_supported_name,
)
from dgprune.schema import file_sha256

PRETRAINED, RANDOM = "pretrained", "random"
_ON_HUB = "model.safetensors"  # named to timm, which takes a pickle where there is none


def load_timm(
    name: str, weights: str, *, num_classes: int, image_size: int | None, seed: int
) -> Transformer:
    """A timm model with `weights` ("pretrained", "random" or a .safetensors file).

    A classifier of another number of classes is left out and starts from chance, by `seed`, as does
    one that the file lacks, which those of timm's DINOv2 or MAE do; position embeddings are
    resampled to `image_size`. Raises DgpruneError where the weights are not this model's.
    """
    torch.manual_seed(seed)
    if weights == RANDOM:
        return create(name, num_classes=num_classes, image_size=image_size)
    if weights == PRETRAINED:
        return _from_hub(name, num_classes=num_classes, image_size=image_size)
    state = read_weights(Path(weights))
    _require_fit(name, state, weights)
    create(name, num_classes=num_classes, image_size=image_size)  # its errors are the clearer ones
    torch.manual_seed(seed)
    model = create_timm(name, num_classes=num_classes, img_size=image_size)
    fitted = filter_beit(state, model) if isinstance(model, Beit) else filter_vit(state, model)
    for key, value in model.state_dict().items():
        if _of_classifier(key) and (key not in fitted or fitted[key].shape != value.shape):
            fitted[key] = value
    try:
        model.load_state_dict(fitted)
    except RuntimeError as error:
        raise DgpruneError(f"--weights {weights} is not a {name}: {str(error)[:200]}") from None
    return (plain(model) if isinstance(model, Beit) else model).eval()


def identify(weights: str, seed: int) -> tuple[str, str]:
    """A name for `weights` that holds no path, and a digest that tells two apart."""
    if weights == RANDOM:
        return RANDOM, f"seed-{seed}"
    if weights == PRETRAINED:
        return PRETRAINED, f"timm-{timm.__version__}"
    path = _require_safetensors(Path(weights))
    return path.name, file_sha256(path)


def require_weights(weights: str) -> None:
    """Raises DgpruneError where `weights` are neither a known word nor a safetensors file."""
    if weights not in (PRETRAINED, RANDOM):
        _require_safetensors(Path(weights))


def read_weights(path: Path) -> Weights:
    """The tensors of a safetensors file; raises DgpruneError where it is torn or a pickle."""
    _require_safetensors(path)
    try:
        state = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise DgpruneError(
            f"{path} is not a whole safetensors file ({error}); download it again"
        ) from None
    for key, value in state.items():
        if not value.is_floating_point():
            raise DgpruneError(f"{path} has {value.dtype} in {key}; give floating-point weights")
    return {key: value.float() for key, value in state.items()}


def _require_safetensors(path: Path) -> Path:
    if not path.is_file():
        raise DgpruneError(
            f"--weights {path}: no such file; give pretrained, random or a .safetensors file"
        )
    with path.open("rb") as file:
        head = file.read(10)
    # A safetensors file is an 8-byte length and then JSON; that length may begin like a pickle.
    if head[8:9] == b"{":
        return path
    if head[:2] == b"PK" or head[:1] == b"\x80":
        raise DgpruneError(
            f"--weights {path} is a pickle, which can run code when opened; "
            "convert it to safetensors"
        )
    raise DgpruneError(f"--weights {path} is not a whole safetensors file; download it again")


def _require_fit(name: str, state: Weights, weights: str) -> None:
    """Compares names and shapes with the model as timm makes it, classifier apart."""
    require_supported_name(name)
    with torch.device("meta"):
        reference = create_timm(name).state_dict()
    has_classifier = any(_of_classifier(key) for key in state)
    for key, value in reference.items():
        if _of_classifier(key) and not has_classifier:
            continue
        if key not in state:
            raise DgpruneError(
                f"--weights {weights} is not a {name}: {key} is missing; "
                "give the weights of that model"
            )
        if _of_classifier(key):
            continue
        if state[key].shape != value.shape:
            raise DgpruneError(
                f"--weights {weights} is not a {name}: {key} is {tuple(state[key].shape)}, "
                f"needed {tuple(value.shape)}"
            )
    extra = sorted(state.keys() - reference.keys())
    if extra:
        raise DgpruneError(
            f"--weights {weights} is not a {name}: {extra[0]} is not part of it; "
            "give the weights of that model"
        )


def _of_classifier(key: str) -> bool:
    return key.split(".")[0] in ("head", "head_dist")


def _from_hub(name: str, *, num_classes: int, image_size: int | None) -> Transformer:
    create(
        name, num_classes=num_classes, image_size=image_size
    )  # its errors are clearer than the hub's
    _require_safetensors_of_hub(name)
    try:
        model = create_timm(
            name,
            pretrained=True,
            pretrained_cfg_overlay={"hf_hub_filename": _ON_HUB},
            num_classes=num_classes,
            img_size=image_size,
        )
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DgpruneError(
            f"the hub gave no weights for {name} ({reason}); "
            "pass --weights FILE.safetensors or random"
        ) from None
    return (plain(model) if isinstance(model, Beit) else model).eval()


def _require_safetensors_of_hub(name: str) -> None:
    found = timm.get_pretrained_cfg(name)
    if found is None or not found.hf_hub_id:
        raise DgpruneError(
            f"timm has no safetensors of {name}, and a pickle is never opened; convert its weights "
            "and pass --weights FILE.safetensors"
        )
