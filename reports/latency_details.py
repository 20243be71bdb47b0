"""Beside the speedup: tails, throughput and its knee, cold starts, memory, energy."""

from dgprune.records import LatencyRecord
from dgprune.statistics import median_latency_s, tail_latencies_s, throughput_knee
from dgprune.timing import Arm
from reports.recipe import row_name
from reports.rows import Row, Table
from reports.section import DASH, Section, without_empty
from reports.speed import SpeedCell


def details(table: Table) -> Section | None:
    """A row a file, batch size and arm; None where nothing was timed."""
    rows: list[tuple[str, ...]] = []
    dense: set[int] = set()  # it stands beside every pruned file; once a batch size is enough
    for row in table.rows:
        knee = knees(row, "candidate")
        for size, cell in row.speed.items():
            if size not in dense:
                dense.add(size)
                rows.append(
                    _line(_dense_name(cell, table), cell.record, "baseline", knees(row, "baseline"))
                )
            rows.append(_line(row_name(row, table), cell.record, "candidate", knee))
    if not rows:
        return None
    header, lines = without_empty(_HEADER, rows)
    return Section(
        title="Latency in detail",
        text="Dense as it ran beside the first file below it. Tails print only where there are "
        "enough samples; the knee is the smallest batch that reaches 95 % of the best throughput. "
        "A cold start is a fresh process: from the file to a ready model, and the first call; "
        "memory is its peak over what the process held before. What was measured of no file, such "
        "as energy without a counter, has no column.",
        header=header,
        rows=lines,
    )


_HEADER = (
    *("file", "batch", "median, ms", "p90, ms", "p99, ms", "images/s", "knee", "load, ms"),
    *("first call, ms", "file, MB", "host memory, MB", "device memory, MB", "energy, mJ/image"),
)


def _dense_name(cell: SpeedCell, table: Table) -> str:
    """What the dense file that a row was timed against is called."""
    assert cell.record.baseline is not None
    return table.names.get(cell.baseline_sha256, cell.record.baseline.label)


def knees(row: Row, arm: Arm) -> int | None:
    """The knee of an arm's throughput over the batch sizes of a row; None of a single one."""
    if len(row.speed) < 2:
        return None
    rates = {size: size / median_latency_s(cell.record, arm) for size, cell in row.speed.items()}
    return throughput_knee(rates)


def _line(name: str, record: LatencyRecord, arm: Arm, knee: int | None) -> tuple[str, ...]:
    subject = record.baseline if arm == "baseline" and record.baseline else record.subject
    median_s = median_latency_s(record, arm)
    tails, cold = tail_latencies_s(record, arm), record.cold.get(arm)
    return (
        name,
        str(record.batch_size),
        _thousandths(median_s),
        _thousandths(tails[0.9]),
        _thousandths(tails[0.99]),
        f"{record.batch_size / median_s:.1f}",
        DASH if knee is None else str(knee),
        _thousandths(cold.load_ns / 1e9 if cold else None),
        _thousandths(cold.first_call_ns / 1e9 if cold else None),
        megabytes(subject.size_bytes),
        megabytes(cold.host_bytes if cold else None),
        megabytes(cold.device_bytes if cold else None),
        _energy(record, arm),
    )


def milliseconds(seconds: float | None) -> str:
    """Three significant digits of a latency; a dash where there is none."""
    return DASH if seconds is None else f"{_thousandths(seconds)} ms"


def _thousandths(seconds: float | None) -> str:
    """A latency in milliseconds, where the head of the column names the unit."""
    return DASH if seconds is None else f"{seconds * 1e3:.3g}"


def megabytes(size: int | None) -> str:
    """A size in units of a million bytes; a dash where there is none."""
    return DASH if size is None else f"{size / 1e6:.1f}"


def _energy(record: LatencyRecord, arm: Arm) -> str:
    """Millijoules an image, of what the device took while this arm ran."""
    blocks = [b for b in record.blocks if b.arm == arm and b.energy_uj is not None]
    if not blocks:
        return DASH
    images = record.batch_size * sum(len(b.durations_ns) for b in blocks)
    return f"{sum(b.energy_uj or 0 for b in blocks) / 1e3 / images:.3g}"
