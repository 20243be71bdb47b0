"""What was observed, append-only: accuracy, latency, profiles; one JSON object a line.

A record stores what was seen and the whole spec behind it; rates, quantiles and speedups are
derived. `id` is the digest of everything else in the line, so that an edited record is found.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dgprune.environment import Environment
from dgprune.errors import DgpruneError
from dgprune.lineage import LineageStep, Origin
from dgprune.node_times import NodeTime
from dgprune.proof import Proof
from dgprune.schema import canonical_json, decode, encode, seal, unseal
from dgprune.store import append_lines, claim, explained, is_json
from dgprune.structure import Structure

SCHEMA = 1
Arm = Literal["baseline", "candidate"]


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
    """Predictions of one file on one domain.

    `confusion[t][p]` counts images of class t predicted as p; `correct_hex` holds one bit an image,
    in the order of the split's manifest (most significant bit first), for paired tests.
    """

    subject: Subject
    runtime: RuntimeSpec
    domain: str
    role: Literal["source-val", "target"]
    confusion: tuple[tuple[int, ...], ...]
    correct_hex: str
    environment: Environment
    skipped: int = 0
    proof: Proof | None = None

    def __post_init__(self) -> None:
        bits = int(self.correct_hex or "0", 16).bit_count()
        if bits != self.correct or self.images < 1:
            raise ValueError("confusion and correct_hex do not count the same images")

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


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSpec:
    """How long and how precisely to measure (latency protocol, version 1)."""

    tier: str
    warmup_s: float
    warmup_iterations: int
    warmup_blocks: int
    block_s: float
    block_iterations: tuple[int, int]
    rounds: tuple[int, int]
    cell_s: float
    half_width: float
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedBlock:
    """Host latency of consecutive calls of one arm, in nanoseconds, in the order taken."""

    arm: Arm
    round: int
    durations_ns: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.durations_ns or min(self.durations_ns) <= 0:
            raise ValueError(
                "durations_ns must be > 0: was the clock read before the device had finished?"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyRecord:
    """One cell: two files (or one) timed in alternation on one runtime at one batch size.

    `stationary` tells whether the warm-up ended because the latency had settled; `load_average` is
    the machine's one-minute load just before.
    """

    subject: Subject
    baseline: Subject | None
    runtime: RuntimeSpec
    spec: BenchSpec
    batch_size: int
    batches: int
    inputs_sha256: str
    stationary: bool
    load_average: float
    blocks: tuple[TimedBlock, ...]
    environment: Environment
    proof: Proof | None = None
    baseline_proof: Proof | None = None


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
        path.open("ab").close()
        if is_new:
            path.unlink()
            return []
    entries = read_records(path)
    if not entries and path.stat().st_size:
        raise DgpruneError(f"--records {path} holds something else; name another file")
    return entries


def read_records(path: Path) -> list[Entry]:
    """Every record of a file; a last line torn by a crash is left out.

    Raises DgpruneError for an unknown schema, an edited record, or a line that is not a record.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DgpruneError(f"{path} cannot be read as records ({error}); name another") from None
    lines = text.split("\n")
    if not is_json(lines[-1]):
        lines.pop()  # empty, or torn by a crash
    return [_entry(line, f"{path}:{n}") for n, line in enumerate(lines, 1) if line.strip()]


def _entry(line: str, where: str) -> Entry:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or "schema" not in value:
        raise DgpruneError(f"{where} is not a record (JSON with a schema number); remove the line")
    body = unseal(value, SCHEMA, where=where)
    kind, cell = body.pop("kind", None), body.pop("cell", None)
    del body["schema"]
    if kind not in _KINDS or not isinstance(cell, str):
        raise DgpruneError(f"{where} is of unknown kind {kind!r}; remove the line")
    record: Record = decode(_KINDS[kind], body, where=where)
    return Entry(id=str(value["id"]), cell=cell, record=record)
