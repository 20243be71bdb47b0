"""Whether the exported file computes what PyTorch computes, measured on real images."""

from pathlib import Path

import numpy as np
import torch

from dgprune.artefact import Parity
from dgprune.data.preprocessing import Floats
from dgprune.errors import DgpruneError
from dgprune.models import Transformer

MIN_COSINE = 0.99999
MAX_DIFFERENCE = 1e-3
_CHUNK = 64


def check_parity(model: Transformer, file: Path, inputs: Floats, batch: str) -> Parity:
    """Compares the logits of `file` in ONNX Runtime with those of `model` on inputs [n, 3, px, px].

    Raises DgpruneError where a logit is not finite, differs by more than 1e-3 x max(1, |logit|), or
    the cosine of an image's logits falls under 0.99999.
    """
    chunk = _CHUNK if batch == "dynamic" else int(batch)
    inputs = inputs[: len(inputs) // chunk * chunk] if batch != "dynamic" else inputs
    if not len(inputs):
        raise DgpruneError(f"parity needs at least {chunk} images for a batch of {batch}")
    expected = _torch_logits(model, inputs, chunk)
    found = _onnx_logits(file, inputs, chunk)
    difference = np.abs(expected - found)
    cosine = _cosine(expected, found)
    parity = Parity(
        images=len(inputs),
        max_abs_logit_difference=float(difference.max()),
        min_cosine=float(cosine.min()),
        top1_agreements=int((expected.argmax(1) == found.argmax(1)).sum()),
    )
    allowed = MAX_DIFFERENCE * np.maximum(1, np.abs(expected))
    if (
        not np.isfinite(found).all()
        or (difference > allowed).any()
        or parity.min_cosine < MIN_COSINE
    ):
        raise DgpruneError(
            f"{file.name} does not compute what PyTorch does: largest difference of a logit "
            f"{parity.max_abs_logit_difference:.2g}, smallest cosine {parity.min_cosine:.7f} "
            f"(allowed {MAX_DIFFERENCE} x max(1, |logit|) and {MIN_COSINE})"
        )
    return parity


@torch.no_grad()
def _torch_logits(model: Transformer, inputs: Floats, chunk: int) -> Floats:
    starts = range(0, len(inputs), chunk)
    parts = [model(torch.from_numpy(inputs[start : start + chunk])) for start in starts]
    logits: Floats = torch.cat(parts).numpy()
    return logits


def _onnx_logits(file: Path, inputs: Floats, chunk: int) -> Floats:
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    parts = [
        session.run(None, {name: inputs[start : start + chunk]})[0]
        for start in range(0, len(inputs), chunk)
    ]
    return np.concatenate(parts)


def _cosine(a: Floats, b: Floats) -> Floats:
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(1) / np.maximum(norms, 1e-12))
