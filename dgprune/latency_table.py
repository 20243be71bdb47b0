"""A table of measured latencies: what each axis of a model costs on one machine and runtime.

A cell is a whole model whose blocks all keep the same shares of heads and MLP units, at one share
of the width, timed as it would ship, against the dense model in the same run. Between cells the
time is interpolated, and blocks add up; no formula of MACs is involved.
"""

import contextlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from dgprune.cache import CACHE, cache_folder
from dgprune.errors import DgpruneError
from dgprune.schema import canonical_json, decode
from dgprune.statistics import Interval
from dgprune.store import append_lines, claim, explained, is_json
from dgprune.structure import Structure

WIDTHS = (1.0, 0.75, 0.5, 0.25)
HEADS = (1.0, 0.5, 0.0)
MLPS = (1.0, 0.5, 0.25, 0.0)
LEAST_MLP = 8
_NO_END = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Kept shares of width, heads and MLP units, the same in every block; 0 keeps the least."""

    width: float
    heads: float
    mlp: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A value in its interval, as measured; `doubt` is why `bench` gives no verdict on it."""

    interval: Interval
    doubt: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One measurement: a model's speedup over the dense one, with its 95 % interval.

    `model` says which: the shares of a cell, or the digest of a structure. `key` says where. Of the
    dense model itself it is the latency in milliseconds.
    """

    key: str
    model: str
    low: float
    estimate: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.high) and 0 < self.low <= self.estimate <= self.high):
            raise ValueError("what is measured is a number above 0 inside its interval")


@dataclass(kw_only=True)
class Measurements:
    """What was measured on this machine for one `key`, kept in a file.

    What is in doubt is known to this run only: another one measures it again.
    """

    path: Path
    key: str
    known: dict[str, Measured] = field(default_factory=dict)
    doubts: dict[str, str] = field(default_factory=dict)

    def of(self, model: str, measure: Callable[[], Timed]) -> Timed:
        """The measurement of `model`, made now where it was not before."""
        if model not in self.known:
            got = measure()
            self.known[model] = Measured(
                key=self.key,
                model=model,
                low=max(got.interval.low, 1 / _NO_END),
                estimate=got.interval.estimate,
                high=min(got.interval.high, _NO_END),  # JSON has no infinity
            )
            if got.doubt is None:
                append_lines(self.path, [canonical_json(self.known[model])], CACHE)
            else:
                self.doubts[model] = got.doubt
        found = self.known[model]
        interval = Interval(low=found.low, estimate=found.estimate, high=found.high)
        return Timed(interval=interval, doubt=self.doubts.get(model))


@dataclass(frozen=True, kw_only=True)
class LatencyTable:
    """Times of cells of the model `dense`; a missing one is measured when it is first needed.

    `measure` gives the speedup of a model of given shares over the dense one.
    """

    measurements: Measurements
    dense: Structure
    measure: Callable[[Shares], Timed]

    def relative_time(self, structure: Structure) -> float:
        """Time of `structure` as a share of the dense model's, from the cells around it."""
        width = (structure.embed_dim, self.dense.embed_dim)
        return _interpolated(*width, 1, WIDTHS, lambda share: self._at(share, structure))

    def _at(self, width: float, structure: Structure) -> float:
        """Time at one width of the table: the whole, less what every block saves."""
        whole = self.cell(width, 1.0, 1.0)
        saved = 0.0
        for new, old in zip(structure.blocks, self.dense.blocks, strict=True):
            heads = new.attention_dim / old.head_dim  # narrow heads count as parts of a whole one
            attention = _interpolated(
                heads, old.num_heads, 1, HEADS, lambda share: self.cell(width, share, 1.0)
            )
            mlp = _interpolated(
                new.mlp_hidden,
                old.mlp_hidden,
                LEAST_MLP,
                MLPS,
                lambda share: self.cell(width, 1.0, share),
            )
            saved += 2 * whole - attention - mlp
        return whole - saved / len(self.dense.blocks)

    def cell(self, width: float, heads: float, mlp: float) -> float:
        """Time of these shares, as a share of the dense model's."""
        shares = Shares(width=width, heads=heads, mlp=mlp)
        if width == heads == mlp == 1:
            return 1.0
        name = f"width {width:g}, heads {heads:g}, MLP {mlp:g}"
        return 1 / self.measurements.of(name, lambda: self.measure(shares)).interval.estimate


def open_measurements(key: str, folder: Path | None = None) -> Measurements:
    """All that earlier runs on this machine measured for `key`; damaged lines are passed over.

    `folder` is `$DGPRUNE_CACHE`, or the user's cache folder, where it is None. Raises DgpruneError
    where it cannot be written.
    """
    path = (folder or cache_folder()) / "latency-table.jsonl"
    with explained(path, CACHE):
        claim(path.parent)
        path.touch()
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    measurements = Measurements(path=path, key=key)
    for line in filter(is_json, lines):
        with contextlib.suppress(DgpruneError):  # a damaged line is measured again
            found = decode(Measured, json.loads(line), where=str(path))
            if found.key == key:
                measurements.known[found.model] = found
    return measurements


def kept_units(size: int, share: float, least: int) -> int:
    """Units that a cell of the table keeps of `size`."""
    return min(size, max(least, round(size * share)))


def _interpolated(
    kept: float, size: int, least: int, grid: tuple[float, ...], time: Callable[[float], float]
) -> float:
    """Time at `kept` units of `size`, linear between the two cells of `grid` around it."""
    for high, low in pairwise(grid):
        above, below = (kept_units(size, share, least) for share in (high, low))
        if kept >= above or above == below:
            return time(high)
        if kept >= below or low == grid[-1]:
            weight = (kept - below) / (above - below)
            return weight * time(high) + (1 - weight) * time(low)
    return time(grid[-1])
