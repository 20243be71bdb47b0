"""Importance criteria: elementwise sensitivities, summed over dependency groups.

With w a weight and g_i the gradient of sample i's cross-entropy:

* l1: sum of |w| (Li et al. 2017)
* l2: square root of the sum of w^2 (He et al. 2018)
* taylor: sum of mean_i |w g_i|, first order and per sample (Molchanov et al. 2019)
* hessian: sum of w^2 mean_i g_i^2, the diagonal by the empirical Fisher (LeCun et al. 1990)
* fisher: sum of the squared derivative by a gate on the unit (`pruning.gates`)
* random: uniform on 0 to 1, one draw a unit, the control
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from torch import Tensor

from dgprune.errors import DgpruneError
from dgprune.progress import SILENT, Progress
from pruning.gates import gate_fisher
from pruning.groups import Groups, Sensitivity, layer_scales, score_groups
from pruning.per_sample import gradient_moments
from pruning.ranking import Scores, UnitScores

Criterion = Literal["fisher", "hessian", "taylor", "l1", "l2", "random"]
CRITERIA: tuple[Criterion, ...] = get_args(Criterion)
NEEDS_IMAGES = frozenset({"fisher", "hessian", "taylor"})


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Images the gradients are taken on: model input [n, 3, px, px] and labels [n]."""

    inputs: Tensor
    labels: Tensor


def score(
    groups: Groups,
    criterion: Criterion,
    calibration: Calibration | None,
    *,
    seed: int,
    progress: Progress = SILENT,
) -> UnitScores:
    """Importance of every prunable unit under `criterion`; higher means kept longer.

    Raises DgpruneError where the criterion needs images and there are none.
    """
    if criterion == "random":
        rng = np.random.default_rng(seed)
        return _each(score_groups(groups, Tensor.abs), lambda part: rng.random(part.shape))
    if criterion in NEEDS_IMAGES:
        if calibration is None:
            raise DgpruneError(f"criterion {criterion} needs images to take gradients on")
        if criterion == "fisher":
            return gate_fisher(
                groups.model,
                calibration.inputs,
                calibration.labels,
                progress,
                edge_missed=groups.edge_missed,
            )
        return score_groups(groups, _gradient_sensitivity(groups, criterion, calibration, progress))
    scales = layer_scales(groups.model)
    if criterion == "l1":
        return score_groups(groups, lambda p: _scaled(p, scales).abs())
    squares = score_groups(groups, lambda p: _scaled(p, scales).square())
    return _each(squares, np.sqrt)


def _scaled(parameter: Tensor, scales: dict[int, Tensor]) -> Tensor:
    """The parameter as the stream sees it: times the layer scale that follows, where one does."""
    value, scale = parameter.detach(), scales.get(id(parameter))
    if scale is None:
        return value
    return value * (scale[:, None] if value.ndim == 2 else scale)


def _each(scores: UnitScores, change: Callable[[Scores], Scores]) -> UnitScores:
    """`change` applied to the score of every group, half of it for q and k, half for v."""
    attention = tuple(change(2 * part) / 2 for part in scores.qk)
    return UnitScores(
        width=change(scores.width),
        qk=attention,
        value=attention,
        mlp=tuple(change(part) for part in scores.mlp),
        width_after=None if scores.width_after is None else change(scores.width_after),
    )


def _gradient_sensitivity(
    groups: Groups, criterion: Criterion, calibration: Calibration, progress: Progress
) -> Sensitivity:
    second_order = criterion == "hessian"
    moments = gradient_moments(
        groups.model,
        calibration.inputs,
        calibration.labels,
        second_order=second_order,
        progress=progress,
    )
    names = {id(p): name for name, p in groups.model.named_parameters()}

    def sensitivity(parameter: Tensor) -> Tensor:
        weight = parameter.detach()
        moment = moments[names[id(parameter)]]
        return weight.square() * moment if second_order else weight.abs() * moment

    return sensitivity
