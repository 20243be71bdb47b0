"""The change of a linear layer that brings its output nearest to what is wanted.

With y what reaches W y + b, and r what is wanted less what it gives, the change of W and b is

    D = Cov(r, y) (Cov(y, y) + ridge)^-1,    d = mean(r) - D mean(y)

The ridge keeps W where the images say little; where r is 0 nothing changes. The closed form is that
of OBS (Hassibi and Stork 1993) and SlimGPT (Ling et al. 2024).
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from dgprune.errors import DgpruneError

RIDGE = 3e-2
Sample = tuple[Tensor, Tensor]  # of a batch: what an output lacks, and the layer's input


class Moments:
    """Streamed first and second moments of r [out] and y [in]."""

    def __init__(self, out: int, wide: int, device: torch.device) -> None:
        self.count = 0

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(*shape, dtype=torch.float64, device=device)

        self.sum_r, self.sum_y = zeros(out), zeros(wide)
        self.ry, self.yy = zeros(out, wide), zeros(wide, wide)

    def add(self, r: Tensor, y: Tensor) -> None:
        """Adds samples r [..., out] and y [..., in]."""
        r, y = r.flatten(0, -2), y.flatten(0, -2)
        self.count += len(y)
        self.sum_r += r.sum(0)
        self.sum_y += y.sum(0)
        self.ry += r.T @ y
        self.yy += y.T @ y

    def solve(self, *, centred: bool = True) -> tuple[Tensor, Tensor]:
        """D [out, in] and d [out], on the CPU; where not `centred`, the best D with a d of 0."""
        n, share = self.count, 1.0 if centred else 0.0
        sum_r, sum_y, ry, yy = (part.cpu() for part in (self.sum_r, self.sum_y, self.ry, self.yy))
        mean_r, mean_y = share * sum_r / n, share * sum_y / n
        cov_ry = ry / n - torch.outer(mean_r, mean_y)
        cov_yy = yy / n - torch.outer(mean_y, mean_y)
        ridge = max(RIDGE * float(cov_yy.diagonal().mean()), 1e-12)  # constant inputs: no spread
        cov_yy += ridge * torch.eye(len(cov_yy), dtype=torch.float64)
        change = torch.linalg.solve(cov_yy, cov_ry.T).T
        return change.float(), (mean_r - change @ mean_y).float()


def improve(layer: nn.Linear, samples: Iterable[Sample]) -> None:
    """Changes `layer` in place; each sample is what its output lacks [..., out], and its input."""
    device = layer.weight.device
    moments = Moments(layer.out_features, layer.in_features, device)
    for lacking, entering in samples:
        moments.add(lacking, entering)
    change, shift = moments.solve(centred=layer.bias is not None)
    if not (change.isfinite().all() and shift.isfinite().all()):
        raise DgpruneError(
            "the refit met values that are not numbers; check the weights, or use --no-refit"
        )
    layer.weight.add_(change.to(device))
    if layer.bias is not None:
        layer.bias.add_(shift.to(device))
