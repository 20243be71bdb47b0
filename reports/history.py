"""Stored runs of `make bench`: a point a benchmark, one history a machine; plain files."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from dgprune.errors import DgpruneError
from dgprune.schema import Json, canonical_json, decode, digest, read_json
from dgprune.store import json_lines

_ABSENT = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One file timed alone at one commit: its median latency between its quartiles.

    `load_average` is the machine's one-minute load just before; `machine` is all that a stored run
    says of where it ran: device, environment, libraries.
    """

    commit: str
    is_dirty: bool
    committed_at: str
    measured_at: str
    runtime: str
    arm: str
    batch_size: int
    load_average: float
    rounds: int
    q1_s: float
    median_s: float
    q3_s: float
    machine: Json

    @property
    def run(self) -> str:
        """The commit in short; a plus where files had been changed since."""
        return self.commit[:9] + ("+" if self.is_dirty else "")


@dataclass(frozen=True, kw_only=True)
class History:
    """Every point of one machine, the oldest commit first."""

    machine: Json
    points: tuple[Point, ...]

    @property
    def runs(self) -> tuple[str, ...]:
        """The commits, in order."""
        return tuple(dict.fromkeys(point.run for point in self.points))

    @property
    def runtimes(self) -> tuple[str, ...]:
        """The runtimes, by name."""
        return tuple(sorted({point.runtime for point in self.points}))

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms, by name."""
        return tuple(sorted({point.arm for point in self.points}))

    def line(self, runtime: str, arm: str) -> tuple[Point, ...]:
        """The points of one arm on one runtime."""
        return tuple(p for p in self.points if (p.runtime, p.arm) == (runtime, arm))

    def change(self, point: Point) -> float | None:
        """By what share its median differs from the one before it; None for the first."""
        line = self.line(point.runtime, point.arm)
        place = line.index(point)
        return point.median_s / line[place - 1].median_s - 1 if place else None


def machine_key(machine: Json) -> str:
    """The name of a machine's folder: its device, and a digest of everything known of it."""
    return f"{machine.get('device', 'unknown')}-{digest(machine)[:12]}"


def load_run(path: Path) -> tuple[Point, ...]:
    """The points of one stored run; raises DgpruneError for a file that is none."""
    value = read_json(path)
    try:
        return tuple(_point(value, timed) for timed in value["benchmarks"])
    except (AttributeError, KeyError, TypeError, ValueError):
        raise DgpruneError(f"{path} is not a run that make bench stored; remove it") from None


def _point(value: Any, timed: Any) -> Point:
    commit, stats, more = value["commit_info"], timed["stats"], timed["extra_info"]
    measured_at = datetime.fromisoformat(value["datetime"]).isoformat()
    return Point(
        commit=str(commit["id"]),
        is_dirty=bool(commit["dirty"]),
        committed_at=datetime.fromisoformat(commit.get("time") or measured_at).isoformat(),
        measured_at=measured_at,
        runtime=str(more["runtime"]),
        arm=str(more["arm"]),
        batch_size=int(more["batch_size"]),
        load_average=float(more["load_average"]),
        rounds=int(stats["rounds"]),
        q1_s=float(stats["q1"]),
        median_s=float(stats["median"]),
        q3_s=float(stats["q3"]),
        machine=dict(json.loads(canonical_json(value["machine_info"]))),  # in a fixed order
    )


def load_history(folder: Path) -> tuple[History, ...]:
    """Every stored run under `folder`, a history a machine, the machine used last first.

    Raises DgpruneError where there is no run, or a file that is none.
    """
    files = sorted(folder.rglob("*.json")) if folder.is_dir() else []
    points = [point for file in files for point in load_run(file)]
    if not points:
        raise DgpruneError(f"{folder} holds no stored run; make one with make bench")
    return _by_machine(points)


def point_lines(histories: Sequence[History]) -> str:
    """Every point as a line of JSON, as a report keeps them."""
    return "".join(f"{canonical_json(p)}\n" for history in histories for p in history.points)


def read_points(path: Path) -> tuple[History, ...]:
    """The histories that `point_lines` wrote to a file; raises DgpruneError for another one."""
    try:
        values = [json.loads(line) for line in json_lines(path.read_text("utf-8"))]
    except (OSError, ValueError) as error:
        raise DgpruneError(f"{path}: not readable ({error}); make the report again") from None
    return _by_machine([decode(Point, value, where=str(path)) for value in values])


def _by_machine(points: Sequence[Point]) -> tuple[History, ...]:
    machines = {canonical_json(point.machine): point.machine for point in points}
    made = [
        History(
            machine=machine,
            points=tuple(sorted((p for p in points if p.machine == machine), key=_moment)),
        )
        for machine in machines.values()
    ]
    return tuple(sorted(made, key=_last_used, reverse=True))


def _moment(point: Point) -> tuple[Any, ...]:
    committed, measured = map(datetime.fromisoformat, (point.committed_at, point.measured_at))
    return (committed.timestamp(), point.commit, point.is_dirty, measured.timestamp(), point.arm)


def _last_used(history: History) -> tuple[float, str]:
    latest = max(datetime.fromisoformat(p.measured_at).timestamp() for p in history.points)
    return latest, machine_key(history.machine)


def first_difference(first: Json, second: Json) -> str | None:
    """The first part that differs between two machines, with both values; None where they agree."""
    mine, theirs = _parts(first), _parts(second)
    for name in dict.fromkeys([*mine, *theirs]):
        if mine.get(name) != theirs.get(name):
            return f"{name} ({mine.get(name, _ABSENT)} against {theirs.get(name, _ABSENT)})"
    return None


def require_same_machine(first: Path, second: Path) -> tuple[tuple[Point, ...], tuple[Point, ...]]:
    """The points of two stored runs; raises DgpruneError naming the part that differs."""
    runs = load_run(first), load_run(second)
    for path, run in zip((first, second), runs, strict=True):
        if not run:
            raise DgpruneError(f"{path} holds no benchmark; make it again with make bench")
    differs = first_difference(runs[0][0].machine, runs[1][0].machine)
    if differs:
        raise DgpruneError(
            f"{first.name} and {second.name} are of unlike machines: they differ in {differs}; "
            "measure both commits on one machine with make bench-compare BASE=ref"
        )
    return runs


def machine_text(machine: Json) -> str:
    """A machine in one line: every part that is known of it."""
    known = {name: value for name, value in _parts(machine).items() if value != _ABSENT}
    if known.get("memory_bytes", "").isdigit():
        known["memory"] = f"{int(known.pop('memory_bytes')) / 2**30:.0f} GiB"
    return ", ".join(f"{name} {value}" for name, value in known.items())


def _parts(value: Json) -> dict[str, str]:
    """Every leaf by its own name (those of machine and library do not clash), as text."""
    found: dict[str, str] = {}
    for name, part in value.items():
        if isinstance(part, dict):
            found |= _parts(part)
        else:
            text = part if isinstance(part, str) else json.dumps(part)
            found[name] = _ABSENT if part is None else text
    return found
