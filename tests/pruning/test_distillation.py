"""The loss of recovery: labels, soft targets and features, each with its weight."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional

from dgprune.errors import DgpruneError
from dgprune.models import Transformer, blocks_of, create, structure_of
from pruning.distillation import LossWeights, Teacher, recovery_loss, tokens_after
from pruning.invariance import Batch
from pruning.least_squares import RIDGE
from pruning.plan import Plan, everything
from pruning.surgery import apply_plan
from tests.conftest import MICRO

VIEWS = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))
LABELS = torch.tensor([0, 3, 5, 9])
BATCH = Batch(views=VIEWS, labels=LABELS, domains=torch.zeros(4))


def weights(distill: float = 0.0, features: float = 0.0, temperature: float = 2.0) -> LossWeights:
    return LossWeights(
        label_smoothing=0.1, distill=distill, temperature=temperature, features=features
    )


@pytest.fixture
def student(micro: Transformer) -> Transformer:
    torch.manual_seed(7)
    return create(MICRO, num_classes=10, image_size=None)


def test_without_a_teacher_the_labels_are_all(micro: Transformer) -> None:
    expected = functional.cross_entropy(micro(VIEWS), LABELS, label_smoothing=0.1)
    assert torch.equal(recovery_loss(micro, None, BATCH, weights(0.5, 3.0)), expected)


def test_labels_and_soft_targets_share_the_loss(micro: Transformer, student: Transformer) -> None:
    teacher = Teacher(micro, 96)
    hard, soft, mixed = (
        recovery_loss(student, teacher, BATCH, weights(share)) for share in (0.0, 1.0, 0.25)
    )
    torch.testing.assert_close(mixed, 0.75 * hard + 0.25 * soft)
    probabilities = (micro(VIEWS) / 2).softmax(-1)
    logs = (student(VIEWS) / 2).log_softmax(-1)
    divergence = (probabilities * (probabilities.log() - logs)).sum(-1).mean()
    torch.testing.assert_close(soft, 4 * divergence)


def test_the_teacher_itself_has_nothing_to_learn(micro: Transformer) -> None:
    teacher = Teacher(copy.deepcopy(micro), 96)
    loss = recovery_loss(micro, teacher, BATCH, weights(1.0, 10.0))
    assert loss.abs().item() < 1e-5


def test_features_are_reached_through_a_projection_that_learns(micro: Transformer) -> None:
    whole = everything(structure_of(micro, MICRO))
    narrow = apply_plan(micro, Plan(width=whole.width[:48], blocks=whole.blocks), MICRO)
    teacher = Teacher(copy.deepcopy(micro), 48)
    plain = recovery_loss(narrow, teacher, BATCH, weights(0.5))
    loss = recovery_loss(narrow, teacher, BATCH, weights(0.5, 2.0))
    tokens, _ = teacher.answer(VIEWS)
    assert [t.shape for t in tokens] == [(4, 65, 96)]
    distance = teacher.distance([narrow.forward_features(VIEWS)], tokens)
    torch.testing.assert_close(loss, plain + 2 * distance)
    loss.backward()
    assert all(p.grad is not None for p in teacher.projection.parameters())
    assert all(p.grad is None for p in teacher.dense.parameters())


def test_projections_start_at_the_least_squares_fit(micro: Transformer) -> None:
    whole = everything(structure_of(micro, MICRO))
    narrow = apply_plan(micro, Plan(width=whole.width[:48], blocks=whole.blocks), MICRO)
    teacher = Teacher(copy.deepcopy(micro), 48, blocks=2)
    wanted, _ = teacher.answer(VIEWS)
    own = tokens_after(narrow, VIEWS, teacher.inner)
    random = teacher.distance(own, wanted)
    teacher.fit_projections(narrow, VIEWS.split(2))
    fitted = teacher.distance(own, wanted)
    assert fitted < random / 2
    for k, projection in enumerate(teacher.projection):  # by numpy, with the ridge of the refit
        assert isinstance(projection, torch.nn.Linear)
        x = own[k].detach().flatten(0, 1).double().numpy()
        y = functional.layer_norm(wanted[k], (96,)).flatten(0, 1).double().numpy()
        covariance = np.cov(x.T, bias=True)
        ridge = RIDGE * np.diag(covariance).mean() * np.eye(48)
        centred = (y - y.mean(0)).T @ (x - x.mean(0)) / len(x)
        expected = torch.from_numpy(np.linalg.solve(covariance + ridge, centred.T).T).float()
        torch.testing.assert_close(projection.weight.detach(), expected, rtol=1e-3, atol=1e-4)


def test_features_of_several_blocks_are_compared_at_the_same_depths(
    micro: Transformer, student: Transformer
) -> None:
    depth = len(blocks_of(micro))
    teacher = Teacher(micro, 96, blocks=depth)
    assert teacher.inner == tuple(range(depth - 1))
    by_hand = {}
    for name, model in (("teacher", micro), ("student", student)):
        x = model.patch_embed(VIEWS)
        x = model.get_submodule("patch_drop")(model._pos_embed(x))  # type: ignore[operator]
        x = model.get_submodule("norm_pre")(x)
        by_hand[name] = [x := block(x) for block in blocks_of(model)]
        by_hand[name][-1] = model.get_submodule("norm")(x)
    distances = [
        functional.mse_loss(functional.layer_norm(a, (96,)), functional.layer_norm(b, (96,)))
        for a, b in zip(by_hand["student"], by_hand["teacher"], strict=True)
    ]
    plain = recovery_loss(student, teacher, BATCH, weights(0.5))
    loss = recovery_loss(student, teacher, BATCH, weights(0.5, 2.0))
    torch.testing.assert_close(loss, plain + 2 * sum(distances) / depth)
    assert not blocks_of(student)[0]._forward_hooks  # nothing is left behind


def test_more_blocks_than_there_are_cannot_be_compared(micro: Transformer) -> None:
    depth = len(blocks_of(micro))
    with pytest.raises(DgpruneError, match=f"but the model has {depth} blocks"):
        Teacher(micro, 96, blocks=depth + 1)


def test_tokens_without_a_pair_are_refused(student: Transformer) -> None:
    """A distilled model has a token more; a deeper one has no block for each of the student's."""
    views = torch.zeros(1, 3, 32, 32)
    distilled = create("vit_tiny_patch16_224", num_classes=10, image_size=32)
    with pytest.raises(DgpruneError, match="the teacher has 5 of an image, the model 65"):
        Teacher(distilled, 96).require_same_tokens(student, views)
    with pytest.raises(DgpruneError, match="the teacher has 12 blocks, the model 4"):
        Teacher(distilled, 96, blocks=4).require_same_tokens(student, views)
    Teacher(student, 96, blocks=4).require_same_tokens(student, views)


def test_a_teacher_stays_in_evaluation_mode(micro: Transformer) -> None:
    teacher = Teacher(micro, 96).train()
    assert not teacher.training and not teacher.dense.training
