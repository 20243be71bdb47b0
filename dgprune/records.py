"""What was observed, append-only: accuracy, latency, profiles; one JSON object a line.

A record stores what was seen and the whole spec behind it; rates, quantiles and speedups are
derived. `id` is the digest of everything else in the line, so that an edited record is found.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dgprune.collection import no_collection
from dgprune.environment import Environment
from dgprune.errors import DgpruneError
from dgprune.lineage import LineageStep, Origin
from dgprune.node_times import NodeTime
from dgprune.predictions import require_one_count, unpack
from dgprune.proof import Proof
from dgprune.record_lines import MISSING, Line, read_lines
from dgprune.reliability import Reliability
from dgprune.schema import canonical_json, decode, encode, seal
from dgprune.store import append_lines, claim, explained
from dgprune.structure import Structure
from dgprune.timing import Arm, BenchSpec, ColdStart, Replica, TimedBlock, latency_of_schema_1

SCHEMA = 3
Varies = Literal["network", "precision", "runtime"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The file that was measured, and all that led to it."""

    label: str
    sha256: str
    size_bytes: int
    format: str
    precision: str
    structure: Structure
    origin: Origin
    lineage: tuple[LineageStep, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeSpec:
    """What executes the model, on which provider, with how many threads.

    With `allow_fallback` something else may run than was asked for; the proof says what.
    """

    name: str
    provider: str
    threads: int
    allow_fallback: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyRecord:
    """Predictions of one file on one domain: images of it that select, or that are held out.

    Held out are all of a `target`, or `test` images of a domain that is trained on.
    `confusion[t][p]` counts images of class t predicted as p; `correct_hex` holds one bit an image,
    in the order of the split's manifest (most significant bit first), `predictions_hex` one class;
    `images_sha256` says which images. `reliability` is of the logits as they are, `scaled` of them
    at the temperature fitted on source validation, None where that has no image. None is also what
    schema 1 and 2 did not store.
    """

    subject: Subject
    runtime: RuntimeSpec
    domain: str
    role: Literal["source-val", "target", "test"]
    confusion: tuple[tuple[int, ...], ...]
    correct_hex: str
    environment: Environment
    skipped: int = 0
    proof: Proof | None = None
    predictions_hex: str | None = None
    images_sha256: str | None = None
    reliability: Reliability | None = None
    scaled: Reliability | None = None

    def __post_init__(self) -> None:
        seen = (self.reliability, self.scaled)
        require_one_count(self.confusion, self.correct_hex, self.predictions, seen)

    @property
    def images(self) -> int:
        """Images seen."""
        return sum(map(sum, self.confusion))

    @property
    def correct(self) -> int:
        """Images whose top-1 class is right."""
        return sum(row[i] for i, row in enumerate(self.confusion))

    @property
    def accuracy(self) -> float:
        """Share of images whose top-1 class is right."""
        return self.correct / self.images

    @property
    def predictions(self) -> tuple[int, ...] | None:
        """The predicted class of every image, in manifest order; None before schema 3."""
        text = self.predictions_hex
        return None if text is None else unpack(text, len(self.confusion))


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyRecord:
    """One cell: two files (or one) timed in alternation at one batch size.

    The arms differ in `varies` only: in the network, or to tell where a speedup comes from, in
    precision or runtime; `baseline_runtime` is there for the latter. `builds` are the SHA-256 of
    each arm's builds: of an engine there may be several. `failures` says, a line each,
    which process died of what.
    """

    subject: Subject
    baseline: Subject | None
    runtime: RuntimeSpec
    spec: BenchSpec
    batch_size: int
    batches: int
    inputs_sha256: str
    replicas: tuple[Replica, ...]
    environment: Environment
    varies: Varies = "network"
    baseline_runtime: RuntimeSpec | None = None
    builds: dict[Arm, tuple[str, ...]] = field(default_factory=dict)
    cold: dict[Arm, ColdStart] = field(default_factory=dict)
    failures: tuple[str, ...] = ()
    proof: Proof | None = None
    baseline_proof: Proof | None = None

    @property
    def is_control(self) -> bool:
        """Whether a file was timed against itself."""
        same = self.baseline is not None and self.baseline.sha256 == self.subject.sha256
        return same and self.baseline_runtime in (None, self.runtime)

    @property
    def stationary(self) -> bool:
        """Whether the latency had settled in every process before it was measured."""
        return all(replica.stationary for replica in self.replicas)

    @property
    def blocks(self) -> tuple[TimedBlock, ...]:
        """Every block that counts, process by process."""
        if len(self.replicas) == 1:  # asked for many times a record, of thousands of records
            return self.replicas[0].counted
        return tuple(block for replica in self.replicas for block in replica.counted)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRecord:
    """Time of every executed node of two files (or one), called in alternation after a warm-up.

    The sums say where the time goes, not how long a call takes: counting nodes slows them down.
    """

    subject: Subject
    baseline: Subject | None
    runtime: RuntimeSpec
    batch_size: int
    calls: int
    inputs_sha256: str
    nodes: tuple[NodeTime, ...]
    baseline_nodes: tuple[NodeTime, ...]
    environment: Environment
    proof: Proof
    baseline_proof: Proof | None


Record = AccuracyRecord | LatencyRecord | ProfileRecord
_KINDS: dict[str, type[Record]] = {
    "accuracy": AccuracyRecord,
    "latency": LatencyRecord,
    "profile": ProfileRecord,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A record in a file: `cell` is the digest of what was asked, `id` of what was written."""

    id: str
    cell: str
    record: Record


def append_records(path: Path, cell: str, records: Sequence[Record]) -> None:
    """Appends `records`, all made for the work that `cell` names, in one write."""
    append_lines(path, [_line(cell, record) for record in records])


def _line(cell: str, record: Record) -> str:
    kind = next(name for name, of in _KINDS.items() if isinstance(record, of))
    return canonical_json(seal({"schema": SCHEMA, "kind": kind, "cell": cell, **encode(record)}))


def open_records(path: Path) -> list[Entry]:
    """What a records file holds before something is appended; its folder is made where needed.

    Raises DgpruneError, before any work is done, where `path` cannot take records.
    """
    with explained(path, "--records"):
        claim(path.parent)
        is_new = not path.exists()
        if not is_new and not path.is_file():  # a device or a pipe gives no end, or waits for one
            raise DgpruneError(f"--records {path} is no regular file; name another")
        path.open("ab").close()
        if is_new:
            path.unlink()
            return []
    lines = read_lines(path)
    if not lines and path.stat().st_size:
        raise DgpruneError(f"--records {path} holds something else; name another file")
    return _entries(lines)


def read_records(path: Path) -> list[Entry]:
    """Every record of a file; a last line torn by a crash is left out.

    Lines that only say what is missing are passed over. Raises DgpruneError for an unknown schema,
    an edited record, or a line that is not a record.
    """
    return _entries(read_lines(path))


def _entries(lines: Sequence[Line]) -> list[Entry]:
    with no_collection():
        return [entry_of(line) for line in lines if line.kind != MISSING]


def entry_of(line: Line) -> Entry:
    """The record in a line; raises DgpruneError where it is of another kind."""
    body = dict(line.body)
    cell = body.pop("cell", None)
    if line.kind not in _KINDS or line.schema > SCHEMA or not isinstance(cell, str):
        raise line.unknown()
    if line.schema == 1 and line.kind == "latency":
        body = latency_of_schema_1(body)
    record: Record = decode(_KINDS[line.kind], body, where=line.where)
    return Entry(id=line.id, cell=cell, record=record)
