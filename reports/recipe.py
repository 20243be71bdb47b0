"""What was asked of a file: its recipe and seed, what to call it, and its dense file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from dgprune.lineage import LineageStep, spec_of
from dgprune.records import Subject
from dgprune.schema import Json, digest
from reports.setting import seed_of

if TYPE_CHECKING:  # rows are named by what is here
    from reports.rows import Row, Table

# What differs between two seeds or two targets of one recipe.
_OF_A_FILE = ("seed", "teacher")


@dataclass(frozen=True, kw_only=True)
class MadeBy:
    """All that was asked for in making a file, but for the seed and the held-out domain."""

    model: str
    image_size: int
    label: str
    steps: tuple[tuple[str, Json], ...]

    @cached_property
    def key(self) -> str:
        """Equal for files that differ in seed and held-out domain only."""
        return digest([self.model, self.image_size, self.label, self.steps])

    @property
    def stages(self) -> tuple[str, ...]:
        """What was done, but for where the weights came from."""
        return tuple(name for name in _stage_names(self) if name != "source")


def apart(makers: Sequence[MadeBy]) -> list[str]:
    """What sets each apart: its stages where those differ, its options where those of a stage do.

    In one pass over all of them: a table may hold a thousand files of one label.
    """
    alike: dict[tuple[str, ...], list[MadeBy]] = defaultdict(list)
    for maker in makers:
        alike[tuple(stage for stage, _ in maker.steps)].append(maker)
    differing = {stages: _differing(group) for stages, group in alike.items()}
    several = len({maker.stages for maker in makers}) > 1
    found = []
    for maker in makers:
        told = [", ".join(maker.stages)] if several else []
        apart_here = differing[tuple(stage for stage, _ in maker.steps)]
        for place, name in enumerate(_stage_names(maker)):
            spec = maker.steps[place][1]
            options = [f"{k} {v}" for k, v in sorted(spec.items()) if (place, k) in apart_here]
            told += [f"{name} {', '.join(options)}"] if options else []
        found.append("; ".join(told))
    return found


def _stage_names(maker: MadeBy) -> list[str]:
    """The stages by name; a fine-tuning behind a cut is a recovery."""
    stages = [stage for stage, _ in maker.steps]
    return [
        "recovery" if stage == "finetune" and "prune" in stages[:place] else stage
        for place, stage in enumerate(stages)
    ]


def _differing(makers: Sequence[MadeBy]) -> set[tuple[int, str]]:
    """Options, by the place of their stage, of which not all `makers` have the same value."""
    first = makers[0].steps
    return {
        (place, option)
        for maker in makers
        for place, (_, spec) in enumerate(maker.steps)
        for option in spec.keys() | first[place][1].keys()
        if spec.get(option) != first[place][1].get(option)
    }


def names_beside(makers: Sequence[MadeBy]) -> list[str]:
    """The model and label of each, and where others have the same, what sets it apart."""
    alike: dict[tuple[str, int, str], list[int]] = defaultdict(list)
    for place, maker in enumerate(makers):
        alike[maker.model, maker.image_size, maker.label].append(place)
    names = [""] * len(makers)
    for (model, image_size, label), places in alike.items():
        told = apart([makers[place] for place in places])
        for place, text in zip(places, told, strict=True):
            name = f"{model} at {image_size} px: {label}"
            names[place] = f"{name} ({text})" if text else name
    return names


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
    spec = _without_the_file(step.spec)
    if step.spec.get("teacher"):
        spec["with a teacher"] = True
    if step.spec.get("weights") == "random":  # then they are the seed's
        spec.pop("weights_identity", None)
    if "speedup" in spec:  # then the plan was searched, for one model
        spec.pop("plan", None)
    return spec


def _without_the_file(spec: Json) -> Json:
    """Also in what stands inside it: the training between two cuts has a seed as well."""
    return {
        key: _without_the_file(value) if isinstance(value, dict) else value
        for key, value in spec.items()
        if key not in _OF_A_FILE
    }


def criterion_of(subject: Subject) -> str:
    """The criterion it was pruned by, and how where that is not plain; or `dense`."""
    spec = spec_of(subject.lineage, "prune")
    if not spec:
        return "dense"
    ranking = spec.get("ranking", "global")
    parts = (
        str(spec["engine"]) if "engine" in spec else "",
        str(spec.get("criterion", "plan")),
        "" if ranking == "global" else str(ranking),
        "with a missed edge" if "drop_dependency" in spec else "",
        "with its scale reset" if "scale_attention" in spec else "",
        steps_of(spec),
    )
    return " ".join(part for part in parts if part)


def steps_of(spec: Json) -> str:
    """The cuts a pruning was split into; of a checkpoint between two, how many are behind it."""
    steps = spec.get("steps")
    if steps is None:
        return ""
    step = spec.get("step", steps)
    return f"in {steps} steps" if step == steps else f"after {step} of {steps} steps"


def budget_of(subject: Subject) -> tuple[str, float]:
    """What pruning had to meet: a ratio to go, MACs or params to stay, a speedup to reach."""
    spec = spec_of(subject.lineage, "prune") or {}
    kinds = ("ratio", "macs", "params", "speedup")
    found = [(kind, float(spec[kind])) for kind in kinds if kind in spec]
    return found[0] if found else ("plan" if "plan" in spec else "", 0.0)


def budget_text(kind: str, value: float) -> str:
    """A budget for a person: `ratio 50 %`, `speedup 2.5x`, `plan`, or nothing for dense."""
    if kind in ("", "plan"):
        return kind
    return f"{kind} {value:g}x" if kind == "speedup" else f"{kind} {100 * value:.0f} %"


def names_of(subjects: Sequence[Subject]) -> dict[str, str]:
    """By SHA-256, the label, what sets a file apart from others that have it, and its seed.

    A seed is told where seeds differ.
    """
    alike: dict[str, list[Subject]] = defaultdict(list)
    for subject in subjects:
        alike[subject.label].append(subject)
    seeds = {subject.sha256: seed_of(subject) for subject in subjects}
    several = len(set(seeds.values())) > 1
    names = {}
    for label, group in alike.items():
        told = apart([made_by_recipe(subject) for subject in group])
        for subject, text in zip(group, told, strict=True):
            seed = f"seed {seeds[subject.sha256]}" if several else ""
            parts = ", ".join(part for part in (text, seed) if part)
            names[subject.sha256] = f"{label} ({parts})" if parts else label
    return names


def row_name(row: Row, table: Table) -> str:
    """What a row of a table is called there."""
    return table.names[row.subject.sha256]


def dense_of(row: Row, table: Table) -> Row | None:
    """The dense file of `table` that a pruned one was made from.

    Of one that was pruned before it was ever fine-tuned, the only dense file of its seed. None for
    a dense file, and where that of a pruned one was not measured: another seed's is no match.
    """
    if row.criterion == "dense":
        return None
    past = [step.digest for step in row.subject.lineage]
    for step in reversed(past):  # weights that were fine-tuned later are nearer
        if step in table.dense_by_checkpoint:
            return table.dense_by_checkpoint[step]
    stages = [step.stage for step in row.subject.lineage]
    if "finetune" in stages[: stages.index("prune")]:
        return None
    same = table.dense_by_seed.get(seed_of(row.subject), [])
    return same[0] if len(same) == 1 else None


def checkpoint_of(subject: Subject) -> str:
    """The digest of the checkpoint that a file was exported from, or is."""
    steps = [step for step in subject.lineage if step.stage != "export"]
    return steps[-1].digest if steps else ""
