"""Files of two sets of records that are the same cell: same experiment, label and seed."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from dgprune.errors import DgpruneError
from dgprune.judgement import has_limits
from dgprune.paired import Pairs, difference_interval, pairs_of
from dgprune.schema import canonical_json
from dgprune.statistics import Interval
from reports.recipe import made_by_recipe
from reports.rows import Row, Table
from reports.setting import seed_of
from reports.speed import SpeedCell


@dataclass(frozen=True, kw_only=True)
class Side:
    """One file of one set, and its table."""

    row: Row
    table: Table

    @property
    def cell(self) -> tuple[str, str, str]:
        """What two sets call the same file: experiment, label, seed."""
        return self.table.title, self.row.subject.label, seed_of(self.row.subject)


@dataclass(frozen=True, kw_only=True)
class Matched:
    """The same cell in both sets."""

    first: Side
    second: Side

    @property
    def same_bytes(self) -> bool:
        """Whether both sets measured the very same file."""
        return self.first.row.subject.sha256 == self.second.row.subject.sha256

    @property
    def accuracy_change(self) -> Interval | float | None:
        """Accuracy on what was held out, second minus first.

        With paired bootstrap limits where both saw the same images, as a plain number where they
        did not, None where either has none.
        """
        ours, theirs = self.second.row.held_out, self.first.row.held_out
        if ours is None or theirs is None:
            return None
        pairs = self._pairs()
        return difference_interval([pairs]) if pairs else ours.accuracy - theirs.accuracy

    def _pairs(self) -> Pairs | None:
        """The paired counts over all that was held out; None where the images differ."""
        ours, theirs = self.second.row, self.first.row
        if ours.held_out_domains != theirs.held_out_domains:
            return None
        try:
            found = [
                pairs_of(ours.accuracy[domain].record, theirs.accuracy[domain].record)
                for domain in ours.held_out_domains
            ]
        except DgpruneError:
            return None
        images, won, lost = (sum(getattr(p, n) for p in found) for n in ("images", "won", "lost"))
        return Pairs(images=images, won=won, lost=lost)

    @property
    def batch_sizes(self) -> list[int]:
        """Batch sizes that either set timed."""
        return sorted({*self.first.row.speed, *self.second.row.speed})

    def speed_change(self, batch_size: int) -> Interval | None:
        """The second speedup over the first; None where one is missing, or of another machine."""
        ours = self.second.row.speed.get(batch_size)
        theirs = self.first.row.speed.get(batch_size)
        if ours is None or theirs is None or not same_machine(ours, theirs):
            return None
        return ratio_of(ours.interval, theirs.interval)


def same_machine(cell: SpeedCell, other: SpeedCell) -> bool:
    """Whether machine, libraries and runtime are the same."""
    return all(
        canonical_json(getattr(cell.record, part)) == canonical_json(getattr(other.record, part))
        for part in ("environment", "runtime")
    )


def ratio_of(interval: Interval, other: Interval) -> Interval:
    """The ratio of two independent speedups, its limits combined on the log scale.

    Where either has no limits the ratio has none.
    """
    middle = interval.estimate / other.estimate
    if not (has_limits(interval) and has_limits(other)):
        return Interval(low=0.0, estimate=middle, high=math.inf)
    reach = math.sqrt(sum(math.log(i.high / i.low) ** 2 / 4 for i in (interval, other)))
    return Interval(low=middle * math.exp(-reach), estimate=middle, high=middle * math.exp(reach))


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Every file of two sets of records: in both, or in one only."""

    matched: tuple[Matched, ...]
    only_first: tuple[Side, ...]
    only_second: tuple[Side, ...]

    @property
    def same_machine(self) -> bool:
        """Whether all that both sets timed was timed on one machine."""
        return all(
            same_machine(m.second.row.speed[size], m.first.row.speed[size])
            for m in self.matched
            for size in m.batch_sizes
            if size in m.first.row.speed and size in m.second.row.speed
        )


def compare(first: Sequence[Table], second: Sequence[Table]) -> Comparison:
    """What both sets hold, in the order of the second.

    Of several files of one cell those with the same bytes belong together, then those of the same
    recipe; what is left over has no partner.
    """
    left, right = _by_cell(first), _by_cell(second)
    matched: list[Matched] = []
    alone: list[Side] = []
    for cell, sides in right.items():
        partners = left.get(cell, [])
        for side in sides:
            partner = _partner(side, partners, plain=len(sides) == len(partners) == 1)
            if partner is None:
                alone.append(side)
            else:
                partners.remove(partner)
                matched.append(Matched(first=partner, second=side))
    rest = [side for sides in left.values() for side in sides]
    return Comparison(matched=tuple(matched), only_first=tuple(rest), only_second=tuple(alone))


def _by_cell(tables: Sequence[Table]) -> dict[tuple[str, str, str], list[Side]]:
    found: dict[tuple[str, str, str], list[Side]] = defaultdict(list)
    for table in tables:
        for row in table.rows:
            side = Side(row=row, table=table)
            found[side.cell].append(side)
    return found


def _partner(side: Side, candidates: Sequence[Side], *, plain: bool) -> Side | None:
    if plain:
        return candidates[0]
    subject = side.row.subject
    recipe = made_by_recipe(subject).key
    same = [c for c in candidates if c.row.subject.sha256 == subject.sha256]
    same += [c for c in candidates if made_by_recipe(c.row.subject).key == recipe]
    return same[0] if same else None
