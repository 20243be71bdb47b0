"""A table of measured latencies: what each axis of a model costs on one machine and runtime.

A cell is a whole model whose blocks all keep the same shares of heads and MLP units, at one share
of the width, timed as it would ship, against the dense model in the same run. Between cells the
time is interpolated, and blocks add up; no formula of MACs is involved.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from dgprune.schema import canonical_json, decode
from dgprune.store import append_lines, claim, explained, is_json
from dgprune.structure import Structure

WIDTHS = (1.0, 0.75, 0.5, 0.25)
HEADS = (1.0, 0.5, 0.0)
MLPS = (1.0, 0.5, 0.25, 0.0)
LEAST_MLP = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Kept shares of width, heads and MLP units, the same in every block; 0 keeps the least."""

    width: float
    heads: float
    mlp: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One measurement: time of the model with `shares`, as a share of the dense model's."""

    key: str
    shares: Shares
    relative_time: float


@dataclass(kw_only=True)
class LatencyTable:
    """Cells measured so far for one `key`; a missing one is measured when it is first needed.

    `measure` times a model of given shares and returns its time as a share of the dense model's.
    """

    path: Path
    key: str
    dense: Structure
    measure: Callable[[Shares], float]
    cells: dict[Shares, float] = field(default_factory=dict)

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
        """The cell of these shares, measured now where it was not before."""
        shares = Shares(width=width, heads=heads, mlp=mlp)
        if width == heads == mlp == 1:
            return 1.0
        if shares not in self.cells:
            self.cells[shares] = self.measure(shares)
            cell = Cell(key=self.key, shares=shares, relative_time=self.cells[shares])
            with explained(self.path, "DGPRUNE_CACHE"):
                claim(self.path.parent)
            append_lines(self.path, [canonical_json(cell)])
        return self.cells[shares]


def open_table(
    key: str, dense: Structure, measure: Callable[[Shares], float], folder: Path | None = None
) -> LatencyTable:
    """The table of `key` with all cells that earlier runs on this machine measured.

    `folder` is `$DGPRUNE_CACHE`, or the user's cache folder, where it is None.
    """
    path = (folder or cache_folder()) / "latency-table.jsonl"
    table = LatencyTable(path=path, key=key, dense=dense, measure=measure)
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    for line in filter(is_json, lines):  # a crash may have torn the last one
        cell = decode(Cell, json.loads(line), where=str(path))
        if cell.key == key:
            table.cells[cell.shares] = cell.relative_time
    return table


def cache_folder() -> Path:
    """Where measurements of this machine are kept."""
    if own := os.environ.get("DGPRUNE_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dgprune"


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
