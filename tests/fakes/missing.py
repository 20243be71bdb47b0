"""Missing cells made by hand, of the grid that `tests.fakes.accuracy` measures."""

from typing import Any

from dgprune.lineage import chosen_by_oracle
from dgprune.missing import Missing
from dgprune.records import Subject
from dgprune.schema import digest
from tests.fakes.accuracy import entries_of

SUBJECT = entries_of("dense", "a", 0, {"a": 5})[0].record.subject


def missing(
    label: str, target: str, seed: int, like: Subject | None = None, **words: Any
) -> Missing:
    """A file that failed; `like` is one of its recipe that is there."""
    given: dict[str, Any] = {
        "cell": digest([label, target, seed])[:16],
        "recipe": digest(label)[:16],
        "label": label,
        "model": SUBJECT.origin.model,
        "image_size": SUBJECT.origin.preprocessing.image_size,
        "data_name": SUBJECT.origin.data_name,
        "data_digest": SUBJECT.origin.data_digest,
        "target": target,
        "seed": seed,
        "format": SUBJECT.format,
        "precision": SUBJECT.precision,
        "oracle": chosen_by_oracle(SUBJECT.lineage),
        "reason": "it fails; leave it out",
        "like": like.lineage[-1].digest[:12] if like else None,
    }
    return Missing(**(given | words))
