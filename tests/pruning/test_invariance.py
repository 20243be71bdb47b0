"""Mixup and CORAL against their definitions."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from pruning.batches import draw_order
from pruning.invariance import Batch, coral_loss, label_loss, mix

GENERATOR = torch.Generator


def batch() -> Batch:
    views = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 2, 2)
    return Batch(views=views, labels=torch.tensor([0, 1, 2, 0]), domains=torch.tensor([0, 0, 1, 1]))


def test_a_mixed_view_is_its_share_of_both_and_of_both_classes() -> None:
    mixed = mix(batch(), 0.2, GENERATOR().manual_seed(3))
    assert mixed.other is not None
    assert 0 <= mixed.share <= 1
    partner = (mixed.views[:, 0, 0, 0] - mixed.share * torch.arange(4.0)) / (1 - mixed.share)
    assert torch.equal(batch().labels[partner.round().long()], mixed.other)
    logits = torch.randn(4, 3, generator=GENERATOR().manual_seed(1))
    targets = mixed.share * functional.one_hot(mixed.labels, 3) + (
        1 - mixed.share
    ) * functional.one_hot(mixed.other, 3)
    expected = -(targets * logits.log_softmax(-1)).sum(-1).mean()
    torch.testing.assert_close(label_loss(logits, mixed, 0.0), expected)


def test_the_domain_of_a_mixed_view_is_that_of_its_larger_part() -> None:
    generator, smaller = GENERATOR().manual_seed(0), 0
    for _ in range(50):
        mixed = mix(batch(), 0.2, generator)
        partner = (mixed.views[:, 0, 0, 0] - mixed.share * torch.arange(4.0)) / (1 - mixed.share)
        if not 0.01 < mixed.share < 0.99:
            continue  # the partner cannot be told from rounding
        smaller += mixed.share < 0.5
        larger = torch.arange(4) if mixed.share >= 0.5 else partner.round().long()
        assert torch.equal(mixed.domains, batch().domains[larger])
    assert smaller


def test_the_share_follows_a_beta_distribution() -> None:
    generator = GENERATOR().manual_seed(0)
    shares = [mix(batch(), 0.2, generator).share for _ in range(2000)]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.04)
    assert np.var(shares) == pytest.approx(1 / (4 * (2 * 0.2 + 1)), abs=0.02)


def test_coral_is_the_difference_of_the_moments() -> None:
    features = torch.randn(20, 5, generator=GENERATOR().manual_seed(0))
    domains = torch.arange(20) % 2
    one, other = (features[domains == k].numpy() for k in (0, 1))
    mean = np.square(one.mean(0) - other.mean(0)).mean()
    covariance = np.square(np.cov(one.T) - np.cov(other.T)).mean()
    assert coral_loss(features, domains).item() == pytest.approx(mean + covariance, rel=1e-5)


def test_coral_is_computed_in_single_precision_under_autocast() -> None:
    features = torch.randn(20, 5, generator=GENERATOR().manual_seed(0))
    domains = torch.arange(20) % 2
    with torch.autocast("cpu", torch.bfloat16):
        found = coral_loss(features, domains)
    assert torch.equal(found, coral_loss(features, domains))


def test_coral_is_zero_for_equal_domains_and_where_no_pair_is() -> None:
    half = torch.randn(6, 4, generator=GENERATOR().manual_seed(0))
    assert coral_loss(torch.cat([half, half]), torch.arange(12) // 6).item() < 1e-10
    assert coral_loss(half, torch.zeros(6)).item() == 0
    alone = torch.tensor([0, 0, 0, 0, 0, 1])
    lonely = half.clone().requires_grad_()
    loss = coral_loss(lonely, alone)  # one image has no covariance
    loss.backward()
    assert loss.item() == 0
    assert lonely.grad is not None
    assert torch.equal(lonely.grad, torch.zeros_like(half))


def test_a_balanced_epoch_has_as_many_of_each_domain_and_its_length() -> None:
    domains = torch.tensor([0] * 50 + [1] * 8 + [2] * 2)
    order = draw_order(domains, balanced=True, generator=GENERATOR().manual_seed(0))
    assert len(order) == 60
    for start in range(0, 60, 3):
        assert sorted(domains[order[start : start + 3]].tolist()) == [0, 1, 2]
    counts = torch.bincount(order, minlength=60)
    assert counts[:50].max() == 1  # a large domain is drawn without repeating
    assert sorted(counts[58:].tolist()) == [10, 10]  # a small one comes round evenly


def test_a_plain_epoch_sees_every_image_once() -> None:
    order = draw_order(torch.zeros(9), balanced=False, generator=GENERATOR().manual_seed(0))
    assert sorted(order.tolist()) == list(range(9))
