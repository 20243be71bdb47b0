"""The builds of a TensorRT engine: what else was built of the same checkpoint, as it was asked."""

from collections.abc import Mapping, Sequence

from benchmark.subject import OpenSubject, open_subject
from dgprune.artefact import is_artefact
from dgprune.errors import DgpruneError
from dgprune.schema import Json
from dgprune.timing import Arm


def is_engine(subject: OpenSubject) -> bool:
    """Whether builds of the file differ: TensorRT's builder is not deterministic."""
    return subject.subject.format == "tensorrt"


def builds_of(subject: OpenSubject) -> tuple[OpenSubject, ...]:
    """`subject` and its other builds (`export --build N`) beside it, in the order of N.

    Another format has one build: its session is made anew in every process. A copy of a folder is
    the same build.
    """
    if not is_engine(subject):
        return (subject,)
    found = {_identity(subject): subject}
    for folder in sorted(subject.folder.parent.iterdir()):
        if folder.resolve() != subject.folder.resolve() and is_artefact(folder):
            try:
                other = open_subject(folder)
            except DgpruneError:  # a neighbour that is broken is no build
                continue
            if _same_but_built_again(subject, other):
                found.setdefault(_identity(other), other)
    return tuple(sorted(found.values(), key=_number))


def build_of(replica: int, builds: Mapping[Arm, Sequence[OpenSubject]]) -> int:
    """The build that process number `replica` runs, where each arm has `builds`.

    Of engines as many take turns as every arm that is one has; where no arm is, each process builds
    its own session.
    """
    engines = [len(found) for found in builds.values() if is_engine(found[0])]
    return replica % min(engines) if engines else replica


def _same_but_built_again(one: OpenSubject, other: OpenSubject) -> bool:
    a, b = one.subject.lineage, other.subject.lineage
    return a[:-1] == b[:-1] and _asked(one) == _asked(other)


def _asked(subject: OpenSubject) -> Json:
    return {k: v for k, v in subject.subject.lineage[-1].spec.items() if k != "build"}


def _identity(subject: OpenSubject) -> tuple[str, int]:
    """Equal for copies only: two builds may come out byte-equal, but have two numbers."""
    return subject.subject.sha256, _number(subject)


def _number(subject: OpenSubject) -> int:
    return int(subject.subject.lineage[-1].spec.get("build", 1))
