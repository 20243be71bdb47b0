"""What recovery learns from: the labels, and the dense teacher's outputs and features."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from dgprune.models import Transformer
from pruning.invariance import Batch, coral_loss, label_loss


@dataclass(frozen=True, slots=True, kw_only=True)
class LossWeights:
    """Shares in the loss.

    `distill` is the share of the teacher's soft targets, the labels have the rest; `temperature`
    softens both distributions (Hinton et al. 2015). `features` weighs the distance of the tokens
    before the classifier, which is added (Romero et al. 2015); `coral` that of the domains'
    moments (`pruning.invariance`), also added.
    """

    label_smoothing: float
    distill: float
    temperature: float
    features: float
    coral: float = 0.0


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
    model: Transformer, teacher: Teacher | None, batch: Batch, weights: LossWeights
) -> Tensor:
    """Loss of a batch; without a teacher that of the labels alone, and CORAL's where asked for."""
    tokens = model.forward_features(batch.views)
    logits = model.forward_head(tokens)
    loss = label_loss(logits, batch, weights.label_smoothing)
    if teacher is not None and (weights.distill or weights.features):
        loss = _taught(loss, teacher, batch.views, logits, tokens, weights)
    if weights.coral:
        features = model.forward_head(tokens, pre_logits=True)
        loss = loss + weights.coral * coral_loss(features, batch.domains)
    return loss


def _taught(
    hard: Tensor,
    teacher: Teacher,
    views: Tensor,
    logits: Tensor,
    tokens: Tensor,
    weights: LossWeights,
) -> Tensor:
    """The loss of the labels and of the teacher, by their shares."""
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
