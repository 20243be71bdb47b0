"""What recovery learns from: the labels, and the dense teacher's outputs and features."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from dgprune.errors import DgpruneError
from dgprune.models import Transformer, blocks_of
from pruning.invariance import Batch, coral_loss, label_loss
from pruning.least_squares import Moments


@dataclass(frozen=True, slots=True, kw_only=True)
class LossWeights:
    """Shares in the loss.

    `distill` is the share of the teacher's soft targets, the labels have the rest; `temperature`
    softens both distributions (Hinton et al. 2015). `features` weighs the distance of the tokens,
    which is added (Romero et al. 2015): of those before the classifier alone, or where
    `feature_blocks` is 2 and more of those after so many blocks, spread evenly over the depth.
    `coral` weighs the distance of the domains' moments (`pruning.invariance`), also added.
    """

    label_smoothing: float
    distill: float
    temperature: float
    features: float
    feature_blocks: int = 1
    coral: float = 0.0


class Teacher(nn.Module):
    """A dense model that is followed; its features are reached through learnt projections.

    `inner` are the blocks whose tokens are compared beside those before the classifier.
    """

    def __init__(self, dense: Transformer, student_width: int, blocks: int = 1) -> None:
        super().__init__()
        self.dense = dense.eval().requires_grad_(False)
        width, depth = dense.embed_dim, len(blocks_of(dense))
        require_blocks(blocks, depth)
        self.inner = tuple(depth * k // blocks - 1 for k in range(1, blocks))
        self.projection = nn.ModuleList(
            nn.Identity() if student_width == width else nn.Linear(student_width, width)
            for _ in range(blocks)
        )

    @torch.no_grad()
    def require_same_tokens(self, student: Transformer, views: Tensor) -> None:
        """Raises DgpruneError where tokens of the two on `views` [b, 3, px, px] have no pairs."""
        depths = [len(blocks_of(model)) for model in (self.dense, student)]
        if self.inner and depths[0] != depths[1]:
            raise DgpruneError(
                f"--feature-blocks compares at equal depths, and the teacher has {depths[0]} "
                f"blocks, the model {depths[1]}; leave it out, or name another --teacher"
            )
        student.eval()
        counts = [model.forward_features(views).shape[1] for model in (self.dense, student)]
        if counts[0] != counts[1]:
            raise DgpruneError(
                f"--feature-weight compares tokens, and the teacher has {counts[0]} of an image, "
                f"the model {counts[1]}; leave it out, or name another --teacher"
            )

    @torch.no_grad()
    def fit_projections(self, student: Transformer, batches: Iterable[Tensor]) -> None:
        """Starts the projections at the least-squares fit of the dense tokens.

        Started at random they turn the distance into noise, which the clipped gradient of a
        student with less width then follows. `batches` are views [b, 3, px, px].
        """
        linear = {k: p for k, p in enumerate(self.projection) if isinstance(p, nn.Linear)}
        if not linear:
            return
        student.eval()
        moments = {
            k: Moments(p.out_features, p.in_features, p.weight.device) for k, p in linear.items()
        }
        for views in batches:
            own, (wanted, _) = tokens_after(student, views, self.inner), self.answer(views)
            for k, seen in moments.items():
                seen.add(functional.layer_norm(wanted[k], wanted[k].shape[-1:]), own[k])
        for k, projection in linear.items():
            weight, bias = moments[k].solve()
            projection.weight.copy_(weight)
            projection.bias.copy_(bias)

    def train(self, mode: bool = True) -> "Teacher":
        """Stays in evaluation mode: it is a reference."""
        return super().train(False)

    @torch.no_grad()
    def answer(self, views: Tensor) -> tuple[list[Tensor], Tensor]:
        """Tokens, each [b, n, width], and logits [b, classes] of views [b, 3, px, px]."""
        tokens = tokens_after(self.dense, views, self.inner)
        return tokens, self.dense.forward_head(tokens[-1])

    def distance(self, student: list[Tensor], tokens: list[Tensor]) -> Tensor:
        """Mean squared distance of the projected tokens of the student, both sides normalised."""
        width = tokens[-1].shape[-1:]
        found = [
            functional.mse_loss(
                functional.layer_norm(project(own), width), functional.layer_norm(wanted, width)
            )
            for project, own, wanted in zip(self.projection, student, tokens, strict=True)
        ]
        return torch.stack(found).mean()


def require_blocks(asked: int, depth: int, option: str = "--feature-blocks") -> None:
    """Raises DgpruneError where the tokens of more blocks are to be compared than there are."""
    if asked > depth:
        raise DgpruneError(f"{option} {asked}, but the model has {depth} blocks")


def tokens_after(model: Transformer, views: Tensor, blocks: Sequence[int]) -> list[Tensor]:
    """Tokens [b, n, width] after each of `blocks` and, last, those before the classifier."""
    with _outputs_of(model, blocks) as inner:
        last = model.forward_features(views)
    return [*inner, last]


@contextmanager
def _outputs_of(model: Transformer, blocks: Sequence[int]) -> Iterator[list[Tensor]]:
    """A list that takes what the blocks compute while the context lasts."""
    seen: list[Tensor] = []
    hooks = [
        blocks_of(model)[i].register_forward_hook(lambda _block, _inputs, out: seen.append(out))
        for i in blocks
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def recovery_loss(
    model: Transformer, teacher: Teacher | None, batch: Batch, weights: LossWeights
) -> Tensor:
    """Loss of a batch; without a teacher that of the labels alone, and CORAL's where asked for."""
    tokens = tokens_after(model, batch.views, teacher.inner if teacher is not None else ())
    logits = model.forward_head(tokens[-1])
    loss = label_loss(logits, batch, weights.label_smoothing)
    if teacher is not None and (weights.distill or weights.features):
        loss = _taught(loss, teacher, batch.views, logits, tokens, weights)
    if weights.coral:
        features = model.forward_head(tokens[-1], pre_logits=True)
        loss = loss + weights.coral * coral_loss(features, batch.domains)
    return loss


def _taught(
    hard: Tensor,
    teacher: Teacher,
    views: Tensor,
    logits: Tensor,
    tokens: list[Tensor],
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
