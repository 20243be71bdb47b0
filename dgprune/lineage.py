"""Where a file comes from: every stage from the first weights on, with the spec of each."""

from dataclasses import dataclass

from dgprune.data.preprocessing import Preprocessing
from dgprune.data.split import Protocol, protocol_of
from dgprune.schema import Json, digest

ORACLE = "oracle"


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageStep:
    """One stage: its digest names its folder, and follows from the one before and the spec."""

    stage: str
    digest: str
    spec: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What stays the same from dense to artefact: model, data, held-out domain, input.

    `target` is "" where no domain is held out but images of each, under the protocol paper-like.
    """

    model: str
    data_name: str
    data_digest: str
    split_digest: str
    split_seed: int
    target: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing

    @property
    def protocol(self) -> Protocol:
        """The protocol that the model was made under, which every accuracy of it is of."""
        return protocol_of(self.target)

    @property
    def held_out(self) -> str:
        """What no step may see, for a person."""
        return f"domain {self.target}" if self.target else "20 % of every domain (paper-like)"


def next_step(
    lineage: tuple[LineageStep, ...], stage: str, spec: Json, origin: Origin
) -> LineageStep:
    """The step that follows `lineage`; equal inputs and spec give an equal digest."""
    parent = lineage[-1].digest if lineage else ""
    inputs = {
        "parent": parent,
        "stage": stage,
        "spec": spec,
        "split": origin.split_digest,
        "data": origin.data_digest,
    }
    return LineageStep(stage=stage, digest=digest(inputs), spec=spec)


def spec_of(lineage: tuple[LineageStep, ...], stage: str) -> Json | None:
    """The spec of the last step of kind `stage`, or None where there was none."""
    for step in reversed(lineage):
        if step.stage == stage:
            return step.spec
    return None


def chosen_by_oracle(lineage: tuple[LineageStep, ...]) -> bool:
    """Whether what is held out chose the weights of any step, or of a teacher of one."""
    keys = ("selection", "teacher_selection")
    return any(step.spec.get(key) == ORACLE for step in lineage for key in keys)
