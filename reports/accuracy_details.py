"""Accuracy in detail: spread over domains, and the unseen one against dense, image by image."""

from dgprune.domain_metrics import (
    agreement,
    mean_accuracy,
    require_same_images,
    retention,
    source_target_gap,
    worst_domain,
)
from dgprune.errors import DgpruneError
from dgprune.paired import difference_interval, mcnemar_p, pairs_of
from dgprune.records import AccuracyRecord
from dgprune.reliability import Reliability
from dgprune.statistics import Interval
from reports.recipe import dense_of, row_name
from reports.rows import Row, Table
from reports.section import Section
from reports.summary import DASH, percent

NOT_MEASURED = "not measured"
SPREAD = ("mean", "worst", "gap", "change of the gap")


def spread_cells(row: Row, table: Table) -> tuple[str, ...]:
    """Mean, worst domain, source-target gap and its change against dense, as `SPREAD` says."""
    cells = [row.accuracy.get(domain) for domain in table.domains]
    records = [cell.record for cell in cells if cell is not None]
    if not cells:  # a table of latency only
        return (DASH,) * len(SPREAD)
    if len(records) < len(cells):
        told = missing_text(len(cells) - len(records), len(cells))
        return (told, told, *_gap_cells(row, table))
    worst = worst_domain(records)
    return (
        percent(mean_accuracy(records)),
        f"{worst.domain} {percent(worst.accuracy)}",
        *_gap_cells(row, table),
    )


def missing_text(missing: int, asked: int) -> str:
    """What stands in the place of an average that has not all of its cells."""
    return f"missing {missing} of {asked}"


def _gap_cells(row: Row, table: Table) -> tuple[str, str]:
    dense = dense_of(row, table)
    gap, dense_gap = _gap(row, table), _gap(dense, table) if dense else None
    change = None if gap is None or dense_gap is None else gap - dense_gap
    return points(gap, sign=False), points(change)


def _gap(row: Row, table: Table) -> float | None:
    """The gap of a file that was measured on every domain of the table."""
    if any(domain not in row.accuracy for domain in table.domains):
        return None
    return source_target_gap([cell.record for cell in row.accuracy.values()])


def points(difference: float | None, *, sign: bool = True) -> str:
    """A difference of two shares, in per cent of all images; a dash where there is none."""
    if difference is None:
        return DASH
    return f"{100 * difference:{'+' if sign else ''}.1f}"


def points_interval(interval: Interval) -> str:
    """A difference with its limits, in per cent of all images."""
    limits = f"[{points(interval.low)}, {points(interval.high)}]"
    return f"{points(interval.estimate)} {limits}"


def unseen_section(table: Table) -> Section | None:
    """A row a file that was measured on the unseen domain; None where none was."""
    rows = [row for row in table.rows if _unseen(row) is not None]
    if not rows:
        return None
    return Section(
        title=f"On {table.target}, against dense and in confidence",
        text="Differences in points (per cent of all images) over the dense file that a file was "
        "pruned from, on the same images: brackets hold 95 % limits of a paired bootstrap, p is "
        "McNemar's exact test, of each row alone. They speak of these two files; what another "
        "training seed gives is another question. Agreement: share of images with the same "
        "prediction as dense. The temperature is fitted on source validation; ECE (15 bins) and "
        "NLL are of the unseen domain, as shipped and at that temperature.",
        header=(
            *("file", "accuracy", "over dense", "p (McNemar)", "of dense", "agreement"),
            *("temperature", "ECE", "ECE scaled", "NLL", "NLL scaled"),
        ),
        rows=tuple(_line(row, table) for row in sorted(rows, key=lambda r: _place(r, table))),
    )


def _place(row: Row, table: Table) -> tuple[tuple[str, float], str]:
    return row.budget, row_name(row, table)


def _unseen(row: Row) -> AccuracyRecord | None:
    return row.unseen.record if row.unseen and row.unseen.record.role == "target" else None


def _line(row: Row, table: Table) -> tuple[str, ...]:
    record = _unseen(row)
    assert record is not None
    return (
        row_name(row, table),
        percent(record.accuracy),
        *_against_dense(row, record, table),
        *_confidence(record),
    )


def _against_dense(row: Row, record: AccuracyRecord, table: Table) -> tuple[str, str, str, str]:
    """Difference, McNemar's p, retention and agreement."""
    parent = dense_of(row, table)
    dense = _unseen(parent) if parent else None
    if dense is None:
        return (DASH, DASH, DASH, DASH)
    try:
        require_same_images(record, dense)
    except DgpruneError:
        return ("other images", DASH, DASH, DASH)
    pairs = pairs_of(record, dense)
    agreed = agreement(record, dense)
    return (
        points_interval(difference_interval([pairs])),
        p_text(mcnemar_p(pairs)),
        percent(retention(record, dense)),
        NOT_MEASURED if agreed is None else percent(agreed),
    )


def p_text(p: float) -> str:
    """A p value; one under 0.001 is told as that."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _confidence(record: AccuracyRecord) -> tuple[str, str, str, str, str]:
    """Temperature, then ECE and NLL as shipped and scaled."""
    plain, scaled = record.reliability, record.scaled
    return (
        NOT_MEASURED if scaled is None else _temperature(scaled),
        NOT_MEASURED if plain is None else f"{plain.ece:.3f}",
        NOT_MEASURED if scaled is None else f"{scaled.ece:.3f}",
        NOT_MEASURED if plain is None else f"{plain.nll:.3f}",
        NOT_MEASURED if scaled is None else f"{scaled.nll:.3f}",
    )


def _temperature(scaled: Reliability) -> str:
    return f"{scaled.temperature:.2f}{' (limit)' if scaled.is_at_limit else ''}"
