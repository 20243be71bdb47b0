"""Sweeps whose reports tests open in a browser."""

from pathlib import Path

from dgprune.records import Record
from reports.report import report
from tests.fakes.sweep_files import Sweep, files
from tests.fakes.sweeps import profile_of, sweep_records, write_records

SMALL = Sweep(rounds=3, calls=2, depth=2, ratios=(0.5,))
RICH = Sweep(
    targets=("b", "c"),
    seeds=(0, 1),
    criteria=("l1", "taylor"),
    rankings=("global", "local"),
    ratios=(0.25, 0.75),
    executed=(("onnxruntime", "fp32"), ("openvino", "fp32"), ("openvino", "int8")),
    batches=(1, 8),
    depth=3,
    images=80,
)
CHARTS = (
    *("tradeoff", "batch-sweep", "domains", "kept", "speedup-parts", "distributions"),
    *("layer-kinds", "history-1"),
)


def with_profiles(sweep: Sweep) -> list[Record]:
    """Every record of `sweep`, and profiles of two files of it."""
    pruned = [file for file in files(sweep) if file.criterion]
    return [*sweep_records(sweep), *(profile_of(sweep, file) for file in pruned[:2])]


def page_of(sweep: Sweep, folder: Path, *, profiled: bool = False) -> Path:
    """The page of a report of `sweep`."""
    records = with_profiles(sweep) if profiled else sweep_records(sweep)
    return report([write_records(folder / "records.jsonl", records)], folder / "out").path
