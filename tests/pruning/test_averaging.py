"""Averages of weights, against the definitions they come from."""

from itertools import pairwise

import pytest
import torch

from dgprune.models import Transformer
from pruning.averaging import CONVERGED_AFTER, TOLERANCE, TOLERATED, Ema, Swad, weights_of


def set_to(model: Transformer, value: float) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)


def value_of(weights: dict[str, torch.Tensor]) -> float:
    values = {round(float(v), 5) for tensor in weights.values() for v in tensor.unique()}
    assert len(values) == 1
    return values.pop()


def test_ema_follows_its_recursion(micro: Transformer) -> None:
    set_to(micro, 0.0)
    ema, expected = Ema(decay=0.3, average=weights_of(micro)), 0.0
    for step, value in enumerate((1.0, 5.0, 2.0, 2.0), 1):
        set_to(micro, value)
        ema.step(micro)
        decay = min(0.3, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    assert value_of(ema.average) == pytest.approx(expected, abs=1e-4)


def swad_over(micro: Transformer, losses: list[float]) -> tuple[float, int, int, Swad]:
    """Two steps an evaluation: the weights of stretch k are k - 0.25 and k + 0.25."""
    swad = Swad(running=weights_of(micro))
    for k, loss in enumerate(losses):
        for weight in (k - 0.25, k + 0.25):
            set_to(micro, weight)
            swad.step(micro)
        swad.evaluated(loss)
        if swad.closed:
            break
    weights, first, last = swad.finish()
    return value_of(weights), first, last, swad


def expected_valley(losses: list[float]) -> tuple[int, int]:
    """Algorithm 1 of the paper on the whole curve at once."""
    first = next(
        i
        for i in range(len(losses) - CONVERGED_AFTER + 1)
        if losses[i] == min(losses[i : i + CONVERGED_AFTER])
    )
    threshold = TOLERANCE * sum(losses[first : first + CONVERGED_AFTER]) / CONVERGED_AFTER
    for end in range(first + CONVERGED_AFTER, len(losses) - TOLERATED + 1):
        if min(losses[end : end + TOLERATED]) > threshold:
            return first, end - 1
    return first, len(losses) - 1


CURVES = {
    "falls, is flat, rises": [3, 2, 1, 1.1, 1.05, 1.2, 1.1, 2, 2, 2, 2, 2, 2, 2],
    "never rises": [3, 2, 1, 1.1, 1.05, 1.2, 1.1],
    "rises and comes back": [2, 1, 1.2, 1.1, 2, 2, 2, 2, 2, 1.2, 1.1],
    "is lowest at once": [1, 1.1, 1.2, 1.1, 3, 3, 3, 3, 3, 3, 3, 3],
}


@pytest.mark.parametrize("name", CURVES)
def test_swad_averages_the_valley_of_the_loss(micro: Transformer, name: str) -> None:
    losses = CURVES[name]
    value, *ends, _ = swad_over(micro, losses)
    assert tuple(ends) == expected_valley(losses)
    assert value == pytest.approx(sum(ends) / 2, abs=1e-4)


def test_swad_stops_the_training_once_the_valley_has_ended(micro: Transformer) -> None:
    *_, swad = swad_over(micro, [*CURVES["falls, is flat, rises"], 1.0, 1.0])
    assert swad.closed
    assert swad.evaluations == len(CURVES["falls, is flat, rises"]) - 1


def test_swad_weighs_every_step_alike(micro: Transformer) -> None:
    """The last stretch is shorter where evaluations do not divide the steps."""
    swad, step = Swad(running=weights_of(micro)), 0
    for length in (10, 10, 10, 2):
        for _ in range(length):
            step += 1
            set_to(micro, float(step))
            swad.step(micro)
        swad.evaluated(1.0)
    assert value_of(swad.finish()[0]) == pytest.approx(sum(range(1, 33)) / 32, abs=1e-4)


def test_swad_keeps_no_more_than_it_needs(micro: Transformer) -> None:
    swad = Swad(running=weights_of(micro))
    sizes = []
    for k in range(30):
        swad.step(micro)
        swad.evaluated(1 + 0.01 * (k % 3))
        sizes.append(len(swad.waiting))
    assert max(sizes) < TOLERATED


@pytest.mark.parametrize("losses", [[1.0], [2.0, 1.0], [1.0, 2.0], [5, 4, 3, 2, 1]])
def test_swad_of_a_loss_that_still_falls_is_the_end(
    micro: Transformer, losses: list[float]
) -> None:
    _, first, last, _ = swad_over(micro, losses)
    assert last == len(losses) - 1
    assert losses[first] == min(losses[first:])
    assert all(before > after for before, after in pairwise(losses[: first + 1]))
