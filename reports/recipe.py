"""Which files were made by one recipe, on which seed, and from which dense file."""

from collections.abc import Sequence
from dataclasses import dataclass

from dgprune.lineage import LineageStep
from dgprune.records import Subject
from dgprune.schema import Json, digest
from reports.rows import Row, Table
from reports.setting import seed_of

# What differs between two seeds or two targets of one recipe.
_OF_A_FILE = ("seed", "teacher")


@dataclass(frozen=True, kw_only=True)
class MadeBy:
    """All that was asked for in making a file, but for the seed and the held-out domain."""

    model: str
    image_size: int
    label: str
    steps: tuple[tuple[str, Json], ...]

    @property
    def key(self) -> str:
        """Equal for files that differ in seed and held-out domain only."""
        return digest([self.model, self.image_size, self.label, self.steps])

    def name_beside(self, others: Sequence["MadeBy"]) -> str:
        """The model and label, and where `others` have the same, what sets this one apart."""
        apart = self.apart_from([other for other in others if other._shown == self._shown])
        name = f"{self.model} at {self.image_size} px: {self.label}"
        return f"{name} ({apart})" if apart else name

    def apart_from(self, others: Sequence["MadeBy"]) -> str:
        """Its stages where those of `others` differ, and its options where theirs do."""
        alike = [other for other in others if other._stages == self._stages]
        told = [] if len(alike) == len(others) else list(self._stages)
        told += [
            f"{stage} {option} {value}"
            for place, (stage, spec) in enumerate(self.steps)
            for option, value in sorted(spec.items())
            if any(other.steps[place][1].get(option) != value for other in alike)
        ]
        return ", ".join(told)

    @property
    def _stages(self) -> tuple[str, ...]:
        return tuple(stage for stage, _ in self.steps if stage != "source")

    @property
    def _shown(self) -> tuple[str, int, str]:
        return (self.model, self.image_size, self.label)


def made_by_recipe(subject: Subject) -> MadeBy:
    """The recipe of a file."""
    return MadeBy(
        model=subject.origin.model,
        image_size=subject.origin.preprocessing.image_size,
        label=subject.label,
        steps=tuple((step.stage, _asked(step)) for step in subject.lineage),
    )


def _asked(step: LineageStep) -> Json:
    """A step's spec without what names one seed, one target or one file."""
    spec = {key: value for key, value in step.spec.items() if key not in _OF_A_FILE}
    if step.spec.get("teacher"):
        spec["with a teacher"] = True
    if step.spec.get("weights") == "random":  # then they are the seed's
        spec.pop("weights_identity", None)
    if "speedup" in spec:  # then the plan was searched, for one model
        spec.pop("plan", None)
    return spec


def row_name(row: Row, table: Table) -> str:
    """The label, what sets it apart from others that have it, and its seed where seeds differ."""
    ours = made_by_recipe(row.subject)
    same = [made_by_recipe(o.subject) for o in table.rows if o.subject.label == ours.label]
    apart = [text for text in (ours.apart_from(same),) if text]
    if len({seed_of(other.subject) for other in table.rows}) > 1:
        apart.append(f"seed {seed_of(row.subject)}")
    return f"{ours.label} ({', '.join(apart)})" if apart else ours.label


def dense_of(row: Row, table: Table) -> Row | None:
    """The dense file of `table` that a pruned one was made from.

    Of one that was pruned before it was ever fine-tuned, the only dense file of its seed. None for
    a dense file, and where that of a pruned one was not measured: another seed's is no match.
    """
    if row.criterion == "dense":
        return None
    dense = [other for other in table.rows if other.criterion == "dense"]
    past = [step.digest for step in row.subject.lineage]
    parents = [other for other in dense if _checkpoint(other.subject) in past]
    if parents:  # weights that were fine-tuned later are nearer
        return max(parents, key=lambda other: past.index(_checkpoint(other.subject)))
    stages = [step.stage for step in row.subject.lineage]
    if "finetune" in stages[: stages.index("prune")]:
        return None
    same = [other for other in dense if seed_of(other.subject) == seed_of(row.subject)]
    return same[0] if len(same) == 1 else None


def _checkpoint(subject: Subject) -> str:
    """The digest of the checkpoint that a file was exported from, or is."""
    steps = [step for step in subject.lineage if step.stage != "export"]
    return steps[-1].digest if steps else ""
