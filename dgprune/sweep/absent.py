"""What a sweep was asked for and has not made, and why, as lines of its records file."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dgprune.lineage import ORACLE
from dgprune.missing import Missing
from dgprune.sweep.cells import Cell
from dgprune.sweep.made import Made
from dgprune.sweep.plan import Plan
from dgprune.sweep.work import Place

DENSE_FAILED, NOT_TRIED = "its dense model failed", "not tried yet"
_LONGEST = 300
_CRASH = re.compile(r"\w*(?:Error|Exception): ")
# What differs between two runs, or two machines, that fail for one reason; and what stands for it.
_OF_ONE_RUN = (
    (re.compile(r"(?<![\w.:/~])/(?:[^\s'\"():;,/]+/)*([^\s'\"():;,/]*)"), r"\1"),  # a path
    (re.compile(r"\.[0-9a-f]{8}\.tmp\b"), ".tmp"),
    (re.compile(r"\b0x[0-9a-f]+", re.IGNORECASE), "0x…"),
    (re.compile(r"\b(process|pid)(\W{1,3})\d+", re.IGNORECASE), r"\1\2…"),
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"), "an address"),
    (re.compile(r"\b[0-9a-f]{32,}\b"), "…"),
)


def missing_of(
    plan: Plan,
    place: Place,
    cells: Sequence[Cell],
    made: Mapping[str, Made],
    errors: Mapping[str, str],
) -> Iterator[Missing]:
    """A line for every cell that is not in `made`, in the plan's order; `errors` are by cell."""
    by_id = {cell.id: cell for cell in cells}
    there = {cell.recipe: made[cell.id] for cell in reversed(cells) if cell.id in made}
    for cell in cells:
        if cell.id in made:
            continue
        dense = by_id[cell.parent] if cell.parent else cell
        like = there.get(cell.recipe)
        yield Missing(
            cell=cell.id,
            recipe=cell.recipe,
            label=cell.label,
            model=cell.timm_name,
            image_size=cell.image_size,
            data_name=cell.data_name,
            data_digest=cell.data_digest,
            target=cell.target,
            seed=cell.seed,
            format=plan.export.format,
            precision=plan.export.precision,
            oracle=_chosen_by_oracle(*dense.stages, *cell.stages),
            reason=_reason(cell, made, errors, place),
            criterion=_given(cell, "--criterion"),
            ranking=_given(cell, "--ranking"),
            ratio=float(ratio) if (ratio := _given(cell, "--ratio")) else None,
            like=like.artefact.rpartition("-")[2] if like else None,
        )


def _reason(cell: Cell, made: Mapping[str, Made], errors: Mapping[str, str], place: Place) -> str:
    if cell.parent in errors and cell.parent not in made:
        return DENSE_FAILED
    return stable(errors[cell.id], place) if cell.id in errors else NOT_TRIED


def stable(error: str, place: Place) -> str:
    """An error without what differs between two runs that fail for the same reason.

    Of what a library raised the first sentence stays: the others count bytes and processes.
    """
    text = " ".join(error.split())
    text = text.replace(place.data, Path(place.data).name).replace(f"{place.store}/", "")
    if _CRASH.match(text):
        text = text.partition(". ")[0]
    for found, instead in _OF_ONE_RUN:
        text = found.sub(instead, text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _chosen_by_oracle(*stages: tuple[str, ...]) -> bool:
    return any(("--selection", ORACLE) in zip(words, words[1:], strict=False) for words in stages)


def _given(cell: Cell, option: str) -> str | None:
    """The value of an option of its pruning."""
    words = cell.stages[0]
    return words[words.index(option) + 1] if option in words else None
