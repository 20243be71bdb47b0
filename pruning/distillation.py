"""What recovery learns from: the labels, and the dense teacher's outputs and features."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from dgprune.models import Transformer


@dataclass(frozen=True, slots=True, kw_only=True)
class LossWeights:
    """Shares in the loss.

    `distill` is the share of the teacher's soft targets, the labels have the rest; `temperature`
    softens both distributions (Hinton et al. 2015). `features` weighs the distance of the tokens
    before the classifier, which is added (Romero et al. 2015).
    """

    label_smoothing: float
    distill: float
    temperature: float
    features: float


class Teacher(nn.Module):
    """A dense model that is followed; its features are reached through a learnt projection."""

    def __init__(self, dense: Transformer, student_width: int) -> None:
        super().__init__()
        self.dense = dense.eval().requires_grad_(False)
        width = dense.embed_dim
        self.projection: nn.Module = nn.Identity()
        if student_width != width:
            self.projection = nn.Linear(student_width, width)

    def train(self, mode: bool = True) -> "Teacher":
        """Stays in evaluation mode: it is a reference."""
        return super().train(False)

    @torch.no_grad()
    def answer(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [b, n, width] and logits [b, classes] of views [b, 3, px, px]."""
        tokens = self.dense.forward_features(views)
        return tokens, self.dense.forward_head(tokens)

    def distance(self, student: Tensor, tokens: Tensor) -> Tensor:
        """Mean squared distance of the projected tokens of the student, both sides normalised."""
        projected = self.projection(student)
        width = tokens.shape[-1:]
        return functional.mse_loss(
            functional.layer_norm(projected, width), functional.layer_norm(tokens, width)
        )


def recovery_loss(
    model: Transformer,
    teacher: Teacher | None,
    views: Tensor,
    labels: Tensor,
    weights: LossWeights,
) -> Tensor:
    """Loss of a batch: views [b, 3, px, px], labels [b]; without a teacher the labels' alone."""
    tokens = model.forward_features(views)
    logits = model.forward_head(tokens)
    hard = functional.cross_entropy(logits, labels, label_smoothing=weights.label_smoothing)
    if teacher is None or weights.distill == weights.features == 0:
        return hard
    wanted_tokens, wanted = teacher.answer(views)
    soft = functional.kl_div(
        (logits / weights.temperature).log_softmax(-1),
        (wanted / weights.temperature).log_softmax(-1),
        log_target=True,
        reduction="batchmean",
    )
    loss = (1 - weights.distill) * hard + weights.distill * weights.temperature**2 * soft
    if weights.features:
        loss = loss + weights.features * teacher.distance(tokens, wanted_tokens)
    return loss
