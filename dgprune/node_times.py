"""How long each executed node takes, and the sum by kind."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from dgprune.node_kinds import KINDS, Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTime:
    """One executed node: what it is for, and its duration in every call, in the order taken.

    `durations_ns` is the mean of all calls alone where the runtime keeps no more than that.
    """

    name: str
    op: str
    kind: Kind
    durations_ns: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.durations_ns or min(self.durations_ns) < 0:
            raise ValueError("durations_ns must be there and be >= 0")


def seconds_by_kind(nodes: Sequence[NodeTime]) -> dict[Kind, float]:
    """Seconds a call: the median of every node over calls, summed by kind; no kind is left out."""
    found: dict[Kind, float] = dict.fromkeys(KINDS, 0.0)
    for node in nodes:
        found[node.kind] += statistics.median(node.durations_ns) / 1e9
    return found
