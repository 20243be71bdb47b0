"""What records files say is missing: which of it still is, and how a page tells it."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from dgprune.data.split import setting_of
from dgprune.lineage import chosen_by_oracle
from dgprune.missing import Missing, read_all
from dgprune.record_lines import raw_lines
from dgprune.records import Entry, Subject
from dgprune.schema import Json
from reports.recipe import made_by_recipe
from reports.setting import seed_of

MISSING = "missing cells"
_REASONS, _NAMES = 10, 3


def read_files(files: Sequence[Path]) -> tuple[list[Entry], list[Missing], list[str]]:
    """The records of all files once, what they say is missing and none of them holds, their lines.

    The first line of a record or a missing cell counts, so that a file of the same lines, each
    once, is read the same.
    """
    entries: dict[str, Entry] = {}
    missing: dict[str, Missing] = {}
    lines: list[str] = []
    for file in files:
        read = raw_lines(file)
        lines += read
        measured, absent = read_all(file, read)
        for entry in measured:
            entries.setdefault(entry.id, entry)
        for one in absent:
            missing.setdefault(one.cell, one)
    there = [entry.record.subject for entry in entries.values()]
    return list(entries.values()), list(_still(missing.values(), there)), lines


def _still(missing: Iterable[Missing], there: Sequence[Subject]) -> Iterator[Missing]:
    """Those of which no other file has the records, as a resumed sweep would."""
    subjects = {subject.sha256: subject for subject in there}.values()
    files = {(made_by_recipe(s).key, s.origin.target, seed_of(s)) for s in subjects}
    for one in missing:
        recipes = {made_by_recipe(s).key for s in subjects if is_like(one, s)}
        if not any((key, one.target, str(one.seed)) in files for key in recipes):
            yield one


def is_like(missing: Missing, subject: Subject) -> bool:
    """Whether a file that is there is the one that has the recipe of a missing one."""
    last = subject.lineage[-1].digest if subject.lineage else ""
    return bool(missing.like) and last.startswith(str(missing.like))


def fits(missing: Missing, subject: Subject) -> bool:
    """Whether a missing file would stand in one table over targets with `subject`."""
    origin = subject.origin
    ours = (missing.data_name, missing.data_digest, missing.format, missing.precision)
    theirs = (origin.data_name, origin.data_digest, subject.format, subject.precision)
    return ours == theirs and missing.oracle == chosen_by_oracle(subject.lineage)


def missing_notes(missing: Sequence[Missing]) -> list[str]:
    """What a reader must know first: how many, and a line a reason; nothing where none is."""
    if not missing:
        return []
    by_reason: dict[str, list[Missing]] = {}
    for one in missing:
        by_reason.setdefault(one.reason, []).append(one)
    ordered = sorted(by_reason.items(), key=lambda pair: -len(pair[1]))
    many = "cell that was asked for is" if len(missing) == 1 else "cells that were asked for are"
    lines = [f"{len(missing)} {many} missing."]
    lines += [f"{len(found)}: {reason} ({_names(found)})" for reason, found in ordered[:_REASONS]]
    rest = [one for _, found in ordered[_REASONS:] for one in found]
    if rest:
        lines.append(f"{len(rest)} for other reasons; all are named in records.jsonl.")
    return lines


def _names(found: Sequence[Missing]) -> str:
    names = [
        f"{one.recipe_name}, {setting_of(one.target)}, seed {one.seed}" for one in found[:_NAMES]
    ]
    rest = len(found) - len(names)
    return "; ".join([*names, *([f"and {rest} more"] if rest else [])])


def missing_summary(missing: Sequence[Missing]) -> Json:
    """The same for `--json` and a terminal; nothing where none is missing."""
    if not missing:
        return {}
    return {MISSING: {"cells": len(missing), "notes": missing_notes(missing)}}
