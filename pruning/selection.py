"""How good a model is on images that it was not trained on, domain by domain."""

from dataclasses import dataclass

import torch
from torch.nn import functional

from dgprune.data import Preprocessing
from dgprune.models import Transformer
from pruning.batches import Pixels, domain_numbers, normalise
from pruning.processes import Processes

_BATCH = 128


@dataclass(frozen=True, kw_only=True)
class Score:
    """Accuracy of each domain, and the mean cross-entropy over all its images."""

    accuracy: dict[str, float]
    loss: float


@torch.no_grad()
def evaluate_domains(
    model: Transformer, pixels: Pixels, preprocessing: Preprocessing, processes: Processes
) -> Score:
    """The score of `model`, in evaluation mode, on images that are not augmented."""
    model.eval()
    images = pixels.images
    numbers = domain_numbers(images)
    names = sorted({sample.domain for sample in images.samples})
    labels = torch.from_numpy(images.labels)
    sums = torch.zeros(len(names), 3, dtype=torch.float64)  # images, right, cross-entropy
    mine = processes.share(torch.arange(len(images)))
    for start in range(0, len(mine), _BATCH):
        batch = mine[start : start + _BATCH]
        logits = model(normalise(pixels.take(batch), preprocessing)).float().cpu()
        right = (logits.argmax(-1) == labels[batch]).double()
        loss = functional.cross_entropy(logits, labels[batch], reduction="none").double()
        seen = torch.stack([torch.ones_like(loss), right, loss], dim=1)
        sums.index_add_(0, numbers[batch], seen)
    sums = processes.add_up(sums.to(pixels.device)).cpu()
    count, right, loss = sums.T
    accuracy = dict(zip(names, (right / count).tolist(), strict=True))
    return Score(accuracy=accuracy, loss=float(loss.sum() / count.sum()))
