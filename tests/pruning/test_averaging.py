"""Averages of weights, against the definitions they come from."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dgprune.models import Transformer
from pruning.averaging import CONVERGED_AFTER, TOLERANCE, TOLERATED, Ema, Swad, weights_of


def set_to(model: Transformer, value: float) -> None:
    with torch.no_grad():
        for parameter in model.state_dict().values():
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


def expected_valley(losses: list[float]) -> tuple[int, int] | None:
    """Algorithm 1 of the paper, line by line and counted from 1 as there; None: it never begins."""
    begin, end, threshold = 0, len(losses), None
    loss = dict(enumerate(losses, 1))
    for i in loss:
        if threshold is None:
            first = i - CONVERGED_AFTER + 1
            if first >= 1 and loss[first] == min(loss[k] for k in range(first, i + 1)):
                begin = first
                threshold = TOLERANCE / CONVERGED_AFTER * sum(loss[k] for k in range(first, i + 1))
        elif i >= TOLERATED and threshold < min(loss[k] for k in range(i - TOLERATED + 1, i + 1)):
            end = i - TOLERATED
            break
    return None if threshold is None else (begin - 1, end - 1)


CURVES = {
    "falls, is flat, rises": [3, 2, 1, 1.1, 1.05, 1.2, 1.1, 2, 2, 2, 2, 2, 2, 2],
    "never rises": [3, 2, 1, 1.1, 1.05, 1.2, 1.1],
    "rises and comes back": [2, 1, 1.2, 1.1, 2, 2, 2, 2, 2, 1.2, 1.1],
    "rises right after its least": [2, 1, 1.6, 2, 2, 2, 2, 2, 2, 2],
    "is lowest at once": [1, 1.1, 1.2, 1.1, 3, 3, 3, 3, 3, 3, 3, 3],
}


@pytest.mark.parametrize("name", CURVES)
def test_swad_averages_the_valley_of_the_loss(micro: Transformer, name: str) -> None:
    losses = CURVES[name]
    value, *ends, _ = swad_over(micro, losses)
    assert tuple(ends) == expected_valley(losses)
    assert value == pytest.approx(sum(ends) / 2, abs=1e-4)


class Weight:
    """A model of one weight."""

    def __init__(self) -> None:
        self.weight = torch.zeros(1)

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {"weight": self.weight}


FACTORS = st.sampled_from((0.5, 0.8, 0.95, 1.0, 1.1, 1.3, 1.8))


@settings(deadline=None, max_examples=500)
@given(factors=st.lists(FACTORS, min_size=CONVERGED_AFTER, max_size=30))
def test_swad_is_the_algorithm_of_the_paper_on_any_curve(factors: list[float]) -> None:
    losses = [max(0.05, float(loss)) for loss in np.cumprod(factors)]
    expected = expected_valley(losses)
    assume(expected is not None)
    value, *ends, _ = swad_over(Weight(), losses)  # type: ignore[arg-type]
    assert tuple(ends) == expected
    assert value == pytest.approx(sum(ends) / 2, abs=1e-3)


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
