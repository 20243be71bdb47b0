"""The builds of a TensorRT engine: what else was built of the same checkpoint, as it was asked."""

from benchmark.subject import OpenSubject, open_subject
from dgprune.artefact import is_artefact
from dgprune.errors import DgpruneError
from dgprune.schema import Json


def builds_of(subject: OpenSubject) -> tuple[OpenSubject, ...]:
    """`subject` and its other builds (`export --build N`) beside it, in the order of N.

    Another format has one build: its session is made anew in every process.
    """
    if subject.subject.format != "tensorrt":
        return (subject,)
    found = [subject]
    for folder in sorted(subject.folder.parent.iterdir()):
        if folder.resolve() != subject.folder.resolve() and is_artefact(folder):
            try:
                other = open_subject(folder)
            except DgpruneError:  # a neighbour that is broken is no build
                continue
            if _same_but_built_again(subject, other):
                found.append(other)
    return tuple(sorted(found, key=_number))


def _same_but_built_again(one: OpenSubject, other: OpenSubject) -> bool:
    a, b = one.subject.lineage, other.subject.lineage
    return a[:-1] == b[:-1] and _asked(one) == _asked(other)


def _asked(subject: OpenSubject) -> Json:
    return {k: v for k, v in subject.subject.lineage[-1].spec.items() if k != "build"}


def _number(subject: OpenSubject) -> int:
    return int(subject.subject.lineage[-1].spec.get("build", 1))
