"""The page of a cost curve: time against MACs by axis, from the records alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dgprune.records import LatencyRecord, read_records
from dgprune.schema import Json
from dgprune.statistics import Interval, median_latency_s, speedup_interval
from dgprune.structure import Structure, cost_of
from reports.charts import draw
from reports.charts.chart import Chart, rows
from reports.charts.theme import SERIES

AXES = ("width", "heads", "head dimension", "MLP")
_STEP = 8  # what every runtime here has kernels for
_COLUMNS = ("axis", "kept", "multiple", "runtime", "macs", "time", "low", "high")


@dataclass(frozen=True, kw_only=True)
class Point:
    """One file on one runtime: `macs` and `time` are shares of the dense model's."""

    axis: str
    units: int
    of: int
    runtime: str
    macs: float
    time: Interval

    @property
    def multiple(self) -> str:
        """Whether what is left is a multiple of 8: heads always are."""
        aligned = self.axis == "heads" or self.units % _STEP == 0
        return "a multiple of 8" if aligned else "beside one"

    @property
    def exchange(self) -> float:
        """Share of the time saved a share of the MACs saved: 1 is a fair exchange."""
        return (1 - self.time.estimate) / (1 - self.macs)


def write_page(records: Path, folder: Path) -> None:
    """Writes FOLDER/README.md, cost-curve.png and the records."""
    found = [entry.record for entry in read_records(records)]
    timed = [record for record in found if isinstance(record, LatencyRecord)]
    points = [point_of(record) for record in timed if not record.is_control]
    points.sort(key=lambda p: (p.runtime, AXES.index(p.axis), -p.units))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / records.name).write_bytes(records.read_bytes())
    (folder / "cost-curve.png").write_bytes(draw.png(chart(points)))
    (folder / "README.md").write_text("\n".join(_page(timed, points)) + "\n")


def point_of(record: LatencyRecord) -> Point:
    """Where one record lies; raises StopIteration where it cut nothing."""
    assert record.baseline is not None
    dense, cut = record.baseline.structure, record.subject.structure
    before, after = _sizes(dense), _sizes(cut)
    axis = next(name for name in AXES if before[name] != after[name])
    speedup = speedup_interval(record.replicas)
    return Point(
        axis=axis,
        units=after[axis],
        of=before[axis],
        runtime=record.runtime.name,
        macs=cost_of(cut).macs_per_image / cost_of(dense).macs_per_image,
        time=Interval(low=1 / speedup.high, estimate=1 / speedup.estimate, high=1 / speedup.low),
    )


def _sizes(structure: Structure) -> dict[str, int]:
    block = structure.blocks[0]
    sizes = (structure.embed_dim, block.num_heads, block.head_dim, block.mlp_hidden)
    return dict(zip(AXES, sizes, strict=True))


def chart(points: Sequence[Point]) -> Chart:
    """Time against MACs, a panel a runtime."""
    values = [
        (p.axis, p.units, p.multiple, p.runtime, p.macs, p.time.estimate, p.time.low, p.time.high)
        for p in points
    ]
    return Chart(name="cost-curve", title="", text="", spec=_spec(values))


def _spec(values: Sequence[Sequence[object]]) -> Json:
    share: Json = {"type": "quantitative", "scale": {"domain": [0, 1]}, "axis": {"format": ".0%"}}
    x = {"field": "macs", **share, "title": "multiply-accumulates kept"}
    y = {"field": "time", **share, "title": "time kept"}
    colour = {"field": "axis", "title": "cut", "scale": _scale(AXES, SERIES)}
    marks = ("a multiple of 8", "beside one")
    points = {
        "mark": {"type": "point", "size": 60, "strokeWidth": 2},
        "encoding": {
            "x": x,
            "y": y,
            "color": colour,
            "shape": {
                "field": "multiple",
                "title": "units left",
                "scale": {"domain": list(marks), "range": ["circle", "cross"]},
            },
        },
    }
    lines = {
        "transform": [{"filter": f"datum.multiple === '{marks[0]}'"}],
        "mark": {"type": "line", "strokeWidth": 1.5},
        "encoding": {"x": x, "y": y, "color": colour},
    }
    fair = {
        "data": {"values": [{"macs": 0, "time": 0}, {"macs": 1, "time": 1}]},
        "mark": {"type": "line", "color": "#8c8c8c", "strokeDash": [4, 4]},
        "encoding": {"x": x, "y": y},
    }
    return {
        "data": rows(_COLUMNS, values, ("kept", "macs", "time", "low", "high")),
        "facet": {"column": {"field": "runtime", "title": None}},
        "spec": {"width": 300, "height": 300, "layer": [fair, lines, points]},
    }


def _scale(domain: Sequence[str], colours: Sequence[str]) -> Json:
    return {"domain": list(domain), "range": list(colours[: len(domain)])}


def _page(timed: Sequence[LatencyRecord], points: Sequence[Point]) -> list[str]:
    dense = next(record.baseline for record in timed if record.baseline is not None)
    shape, cpu = dense.structure, timed[0].environment.cpu
    lines = [
        "# What each axis costs",
        "",
        f"{shape.model}, {shape.image_size} px, random weights (they back no claim; on a CPU the "
        "time does not depend on them), fp32, batch 1, one thread, "
        f"{cpu}. One axis of every block cut, the others whole; each file timed in alternation "
        "with the dense one. Written by `python -m tests.benchmarks.cost_curve`.",
        "",
        "![time kept against multiply-accumulates kept, by axis](cost-curve.png)",
        "",
        "On the dashed line a share of the multiply-accumulates is worth the same share of the "
        "time. *Exchange* is the time saved per multiply-accumulate saved, both as shares of the "
        "dense model's; 1.00 is that line. A star: no multiple of 8 is left.",
        "",
        *_controls(timed),
        "",
        "| runtime | cut | units left | MACs kept | time kept | 95 % interval | exchange |",
        "| --- | --- | ---: | ---: | ---: | --- | ---: |",
    ]
    return lines + [_row(point) for point in points]


def _controls(timed: Sequence[LatencyRecord]) -> list[str]:
    return [
        f"{record.runtime.name}: {1e3 * median_latency_s(record):.2f} ms dense; the same file "
        f"against itself {interval.estimate:.3f} ({interval.low:.3f} to {interval.high:.3f})."
        for record in timed
        if record.is_control
        for interval in [speedup_interval(record.replicas)]
    ]


def _row(point: Point) -> str:
    time = point.time
    beside = "" if point.multiple.startswith("a") else "*"
    return (
        f"| {point.runtime} | {point.axis} | {point.units}{beside} of {point.of} | "
        f"{point.macs:.1%} | {time.estimate:.1%} | {time.low:.1%} to {time.high:.1%} | "
        f"{point.exchange:.2f} |"
    )
