"""What a training leaves behind: every evaluation, and which weights were kept."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dgprune.errors import DgpruneError
from dgprune.models import Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """The training up to an evaluation: mean loss since the last one, and how good the model is.

    `source_val` is the accuracy on the validation images of each source domain, `source_val_loss`
    the mean cross-entropy over them; `oracle` the accuracy on the target, where it was asked for.
    `step` counts the steps from the first on.
    """

    loss: float
    source_val: dict[str, float]
    source_val_loss: float | None = None
    step: int | None = None
    oracle: float | None = None

    @property
    def score(self) -> float:
        """The mean accuracy over source domains."""
        return sum(self.source_val.values()) / len(self.source_val)

    @property
    def selected_by(self) -> float:
        """What selection looks at: the target under oracle selection, the sources otherwise."""
        return self.score if self.oracle is None else self.oracle

    def describe(self) -> str:
        """Loss and score, for a person."""
        return f"loss {self.loss:.3f}, source validation {100 * self.score:.1f} %"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecord:
    """Every evaluation, and the one whose weights were kept.

    `averaged` are the first and last evaluation whose weights are in the average, which is then
    what was kept, and `source_val` its accuracy. `device` and `precision` say how it was computed,
    `processes` how many shared each step.
    """

    epochs: tuple[Epoch, ...]
    chosen: int
    averaged: tuple[int, int] | None = None
    source_val: dict[str, float] | None = None
    device: str = "cpu"
    precision: str = "fp32"
    processes: int = 1

    @property
    def kept(self) -> dict[str, float]:
        """Accuracy of the weights that were kept, by source domain."""
        return self.source_val or self.epochs[self.chosen].source_val


class Diverged(DgpruneError):
    """The loss stopped being a number; `best` are the weights of the best evaluation before."""

    def __init__(self, message: str, best: Weights) -> None:
        super().__init__(message)
        self.best = best


def require_losses(
    losses: Sequence[float], before: int, steps_per_epoch: int, best: Weights
) -> None:
    """Raises Diverged where one of the losses since step `before` is not a number."""
    for i, loss in enumerate(losses):
        if not math.isfinite(loss):
            epoch, step = divmod(before + i, steps_per_epoch)
            raise Diverged(
                f"the loss became {loss} in epoch {epoch + 1}, step {step + 1}; lower --lr", best
            )


def require_validation(loss: float, step: int, best: Weights) -> None:
    """Raises Diverged where the weights are no numbers, whatever the losses before were."""
    if not math.isfinite(loss):
        told = f"the validation loss became {loss} after step {step}; lower --lr"
        raise Diverged(told, best)
