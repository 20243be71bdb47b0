"""The training between two cuts of `prune --steps`, as it was asked for."""

import re
from dataclasses import dataclass, fields
from typing import Any

from dgprune.errors import DgpruneError, refuse_idle
from pruning.iterative import StepsSpec
from pruning.training_spec import TrainSpec

_OTHERWISE = {"learning_rate": "--step-lr", "augmentation": "--augmentation"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Between:
    """Values of a TrainSpec; those that are None were not given and keep their defaults."""

    epochs: int | None = None
    learning_rate: float | None = None
    augmentation: str | None = None
    precision: str | None = None
    distill_weight: float | None = None
    temperature: float | None = None
    feature_weight: float | None = None
    feature_blocks: int | None = None

    def steps(self, count: int, schedule: str | None) -> StepsSpec:
        """`count` cuts with this training between them.

        Raises DgpruneError, in the names of the options of `prune`, where a value is wrong or does
        nothing.
        """
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        if count == 1:
            options = {_option(name): value for name, value in given.items()}
            refuse_idle("without --steps", {"--schedule": schedule, **options})
        chosen: Any = schedule or "cubic"  # checked by the spec itself
        return StepsSpec(steps=count, schedule=chosen, train=_trained(given))


def _trained(given: dict[str, Any]) -> TrainSpec:
    asked = {name: value for name, value in given.items() if value is not None}
    try:
        return TrainSpec(**{"epochs": 1, **asked})
    except DgpruneError as error:  # in the names of `finetune`
        said = re.sub(r"--(?!augmentation)(?=[a-z])", "--step-", str(error))
        raise DgpruneError(said) from None


def _option(name: str) -> str:
    return _OTHERWISE.get(name, f"--step-{name.replace('_', '-')}")
