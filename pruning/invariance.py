"""Two losses that lead DomainBed's tables: Mixup of images, and CORAL between domains."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Views [b, 3, px, px], their labels [b], and the index of the domain each is of [b].

    With Mixup a share `1 - share` of each view is another one, of class `other` [b]; the domain is
    that of the larger part.
    """

    views: Tensor
    labels: Tensor
    domains: Tensor
    other: Tensor | None = None
    share: float = 1.0


def mix(batch: Batch, alpha: float, generator: torch.Generator) -> Batch:
    """The batch, each view mixed with another one of it (Zhang et al. 2018).

    The share is drawn from Beta(alpha, alpha), once a batch; DomainBed uses alpha = 0.2.
    """
    seed = int(torch.randint(2**62, (1,), generator=generator))
    share = float(np.random.default_rng(seed).beta(alpha, alpha))
    order = torch.randperm(len(batch.labels), generator=generator).to(batch.labels.device)
    larger = batch.domains if share >= 0.5 else batch.domains[order]
    return Batch(
        views=share * batch.views + (1 - share) * batch.views[order],
        labels=batch.labels,
        domains=larger,
        other=batch.labels[order],
        share=share,
    )


def label_loss(logits: Tensor, batch: Batch, label_smoothing: float) -> Tensor:
    """Cross-entropy of logits [b, classes], shared between the two labels of a mixed view."""
    loss = functional.cross_entropy(logits, batch.labels, label_smoothing=label_smoothing)
    if batch.other is None:
        return loss
    mixed = functional.cross_entropy(logits, batch.other, label_smoothing=label_smoothing)
    return batch.share * loss + (1 - batch.share) * mixed


def coral_loss(features: Tensor, domains: Tensor) -> Tensor:
    """Mean over pairs of domains of the squared differences of means and covariances.

    `features` [b, width], `domains` [b]. CORAL (Sun and Saenko 2016) as DomainBed has it; a domain
    with fewer than two images in the batch has no covariance and is left out. The moments are in
    single precision also under autocast, which multiplies matrices of floats in bf16.
    """
    groups = [features[domains == domain] for domain in sorted(set(domains.tolist()))]
    with torch.autocast(features.device.type, enabled=False):
        groups = [group.float() for group in groups if len(group) > 1]
        moments = [(group.mean(0), group.T.cov()) for group in groups]
    pairs = [
        (mean - other_mean).square().mean() + (cov - other_cov).square().mean()
        for (mean, cov), (other_mean, other_cov) in combinations(moments, 2)
    ]
    return torch.stack(pairs).mean() if pairs else features.sum() * 0
