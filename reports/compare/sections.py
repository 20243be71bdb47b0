"""A comparison in tables and words."""

from collections.abc import Sequence

from dgprune.statistics import Interval
from reports.compare.matched import Comparison, Matched, Side
from reports.latency_details import milliseconds
from reports.recipe import row_name
from reports.section import Section
from reports.summary import DASH, percent
from reports.times import times

COMPARED = "compared"  # where a summary holds the words


def sections(found: Comparison) -> list[Section]:
    """Accuracy, speed, and what only one set holds; empty tables are left out."""
    made = (
        _accuracy(found.matched),
        _speed(found.matched),
        _alone("Only in the first set", found.only_first),
        _alone("Only in the second set", found.only_second),
    )
    return [section for section in made if section.rows]


def words(found: Comparison) -> list[str]:
    """The comparison in sentences: how many files, and what moved."""
    told = [
        f"Files in both sets: {len(found.matched)}; only in the first: {len(found.only_first)}; "
        f"only in the second: {len(found.only_second)}."
    ]
    same = sum(m.same_bytes for m in found.matched)
    if found.matched:
        told.append(f"Of those in both, the same file, byte for byte: {same}.")
    for text, moved in (
        ("Accuracy on what was held out fell", [m for m in found.matched if _fell(m)]),
        ("Accuracy on what was held out rose", [m for m in found.matched if _rose(m)]),
        ("A speedup fell", [m for m in found.matched if _slower(m)]),
        ("A speedup rose", [m for m in found.matched if _faster(m)]),
    ):
        if moved:
            told.append(f"{text} beyond its interval: {', '.join(map(name_of, moved))}.")
    return told


def warnings(found: Comparison) -> list[str]:
    """What keeps the two sets from being compared."""
    told = []
    if not found.matched:
        told.append("No file is in both sets: nothing can be compared.")
    if not found.same_machine:
        told.append(
            "The sets were timed on unlike machines, libraries or settings: their speedups stand "
            "side by side, and no change of them is computed."
        )
    if any(isinstance(m.accuracy_change, float) for m in found.matched):
        told.append(
            "Some files did not see the same images in both sets: their difference has no interval."
        )
    return told


def name_of(matched: Matched) -> str:
    """The file, as the second set names it."""
    return row_name(matched.second.row, matched.second.table)


def _low_high(matched: Matched) -> tuple[float, float]:
    change = matched.accuracy_change
    return (change.low, change.high) if isinstance(change, Interval) else (0.0, 0.0)


def _fell(matched: Matched) -> bool:
    return _low_high(matched)[1] < 0


def _rose(matched: Matched) -> bool:
    return _low_high(matched)[0] > 0


def _changes(matched: Matched) -> list[Interval]:
    found = (matched.speed_change(size) for size in matched.batch_sizes)
    return [change for change in found if change is not None]


def _slower(matched: Matched) -> bool:
    return any(change.high < 1 for change in _changes(matched))


def _faster(matched: Matched) -> bool:
    return any(change.low > 1 for change in _changes(matched))


def _accuracy(matched: Sequence[Matched]) -> Section:
    return Section(
        title="Accuracy and cost",
        text="Accuracy on what was held out. The change is second minus first in points, in "
        "brackets its 95 % interval by a bootstrap over the same images; without brackets the "
        "images differ.",
        header=("file", "experiment", "first", "second", "change", "MACs first", "second", "bytes"),
        rows=tuple(_accuracy_row(m) for m in matched),
    )


def _accuracy_row(m: Matched) -> tuple[str, ...]:
    first, second = m.first.row, m.second.row
    return (
        name_of(m),
        m.second.table.title,
        _held_out(m.first),
        _held_out(m.second),
        _points(m.accuracy_change),
        f"{first.cost.macs_per_image / 1e6:.1f} M",
        f"{second.cost.macs_per_image / 1e6:.1f} M",
        "same" if m.same_bytes else "differ",
    )


def _held_out(side: Side) -> str:
    held_out = side.row.held_out
    return percent(held_out.accuracy if held_out else None)


def _points(change: Interval | float | None) -> str:
    if change is None:
        return DASH
    if isinstance(change, float):
        return f"{100 * change:+.1f}"
    return f"{100 * change.estimate:+.1f} [{100 * change.low:+.1f}, {100 * change.high:+.1f}]"


def _speed(matched: Sequence[Matched]) -> Section:
    return Section(
        title="Latency and speedup",
        text="Median latency and speedup over dense of either set. The change is the second "
        "speedup over the first, with a 95 % interval; both sets were measured at different times, "
        "so a change of a few per cent is no verdict.",
        header=(
            *("file", "experiment", "batch", "latency first", "second"),
            *("speedup first", "second", "change"),
        ),
        rows=tuple(_speed_row(m, size) for m in matched for size in m.batch_sizes),
    )


def _speed_row(m: Matched, size: int) -> tuple[str, ...]:
    cells = [side.row.speed.get(size) for side in (m.first, m.second)]
    change = m.speed_change(size)
    return (
        name_of(m),
        m.second.table.title,
        str(size),
        *(milliseconds(cell.latency_s if cell else None) for cell in cells),
        *(times(cell.interval if cell else None) for cell in cells),
        times(change),
    )


def _alone(title: str, sides: Sequence[Side]) -> Section:
    return Section(
        title=title,
        text="Files that the other set has no cell for.",
        header=("file", "experiment", "held out"),
        rows=tuple((row_name(s.row, s.table), s.table.title, _held_out(s)) for s in sides),
    )
