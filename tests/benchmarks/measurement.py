"""What the latency harness is worth, measured: docs/measurement.md.

    python -m tests.benchmarks.measurement coverage OUT
    python -m tests.benchmarks.measurement machine DENSE PRUNED FIXED DATA OUT
    python -m tests.benchmarks.measurement table OUT docs/measurement.md

`coverage` runs the whole protocol on made-up machines whose true speedup is known; `machine` needs
three ONNX artefacts and nothing else running; FIXED is DENSE exported with `--batch 1`, for
`benchmark_app` freezes the batch, which makes OpenVINO faster. Each writes its part of OUT and goes
on where it stopped; `table` writes the page.
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmark.cells import LatencySpec
from benchmark.harness import Harness
from benchmark.latency import bench
from benchmark.tiers import tier
from benchmark.worker import HostClock
from dgprune.environment import current_environment
from dgprune.judgement import interval_of, judge
from dgprune.records import LatencyRecord, read_records
from dgprune.schema import encode
from dgprune.statistics import Verdict, median_latency_s, speedup_interval, verdict
from tests.benchmarks.measurement_page import page
from tests.fakes.machines import DISTURBANCES, NoisyMachine

RUNS, CONTROLS, PAIRS = 1000, 20, 5
_WRONG = (Verdict.FASTER, Verdict.SLOWER)


def coverage(out: Path) -> None:
    """A row a disturbance: what the protocol and the usual loop make of it."""
    rows = {}
    for name, disturbance in DISTURBANCES.items():
        row = {"runs": RUNS, "covered": 0, "usual_covered": 0, "wrong": 0, "found": 0}
        row |= {"processes": 0}
        for seed in range(RUNS):
            replicas = NoisyMachine(seed, 1.5, disturbance).paired()
            interval = speedup_interval(replicas)
            row["covered"] += interval.low <= 1.5 <= interval.high
            row["processes"] += len(replicas)
            usual = NoisyMachine(RUNS + seed, 1.5, disturbance).dense_then_pruned(2000)
            row["usual_covered"] += usual.low <= 1.5 <= usual.high
            same = speedup_interval(NoisyMachine(2 * RUNS + seed, 1.0, disturbance).paired())
            row["wrong"] += verdict(same) in _WRONG
            other = speedup_interval(NoisyMachine(3 * RUNS + seed, 1.03, disturbance).paired())
            row["found"] += verdict(other) is Verdict.FASTER
        rows[name] = row
        print(name, row, flush=True)
    _keep(out, "coverage", rows)


def machine(dense: str, pruned: str, fixed: str, data: str, out: Path) -> None:
    """Everything that is measured on this machine."""
    parts = {
        "environment": lambda: encode(current_environment()),
        "overhead": overhead,
        "agreement": lambda: agreement(fixed),
        "verdict_time": lambda: verdict_time(dense, pruned, data, out),
        "controls": lambda: controls(dense, data, out),
    }
    for name, measure in parts.items():
        if name not in _kept(out):
            _keep(out, name, measure())
            print(name, _kept(out)[name], flush=True)


def overhead() -> dict[str, float]:
    """What a call costs that computes nothing: in its sample, and on the clock of the wall."""
    spec = tier("default", 0)
    arms = {arm: lambda index: None for arm in ("baseline", "candidate")}
    harness = Harness(arms=arms, batches=8, clock=HostClock(), spec=spec)  # type: ignore[arg-type]
    start = time.perf_counter_ns()
    blocks = [harness._block("baseline", number, 200) for number in range(200)]
    wall = time.perf_counter_ns() - start
    samples = [ns for block in blocks for ns in block.durations_ns]
    return {
        "median_sample_us": statistics.median(samples) / 1e3,
        "wall_per_call_us": wall / len(samples) / 1e3,
    }


def agreement(artefact: str) -> dict[str, list[float]]:
    """Median latency in ms of the same file by this harness and by others, in alternation."""
    found: dict[str, list[float]] = {}
    for number in range(PAIRS):
        for runtime in ("onnxruntime", "openvino"):
            command = [sys.executable, "-m", "tests.benchmarks.agreement", runtime, artefact]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            for name, median_ms in json.loads(done.stdout.splitlines()[-1]).items():
                found.setdefault(name, []).append(median_ms)
        print(number, found, flush=True)
    return found


def verdict_time(dense: str, pruned: str, data: str, out: Path) -> dict[str, Any]:
    """Seconds to a verdict of the tier `default` at batch 1, with the control already there."""
    found = {}
    for runtime in ("onnxruntime", "openvino"):
        records = out / f"verdict-{runtime}.jsonl"
        spec = LatencySpec(
            artefact=dense, baseline=dense, data=data, batch_sizes=(1,), runtime=runtime
        )
        bench(spec, records)
        start = time.monotonic()
        bench(LatencySpec(**{**_fields(spec), "artefact": pruned}), records)
        took = time.monotonic() - start
        control, record = (entry.record for entry in read_records(records)[-2:])
        assert isinstance(record, LatencyRecord) and isinstance(control, LatencyRecord)
        found[runtime] = {
            "seconds": took,
            "processes": len(record.replicas),
            "speedup": encode(interval_of(record)),
            "verdict": judge(record, control).value,
        }
    return found


def _fields(spec: LatencySpec) -> dict[str, Any]:
    return {name: getattr(spec, name) for name in LatencySpec.__dataclass_fields__}


def controls(dense: str, data: str, out: Path) -> list[dict[str, Any]]:
    """The same file against itself, `CONTROLS` times, each in processes of its own."""
    records = out / "controls.jsonl"
    for seed in range(CONTROLS):
        spec = LatencySpec(artefact=dense, baseline=dense, data=data, batch_sizes=(1,), seed=seed)
        bench(spec, records)
        print("control", seed, flush=True)
    found = []
    for entry in read_records(records):
        assert isinstance(entry.record, LatencyRecord)
        found.append(
            {
                **encode(interval_of(entry.record)),
                "verdict": judge(entry.record).value,
                "processes": len(entry.record.replicas),
                "median_ms": 1e3 * median_latency_s(entry.record),
                "block_ms": 1e3 * entry.record.spec.block_s,
            }
        )
    return found


def _kept(out: Path) -> dict[str, Any]:
    file = out / "measurement.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return found


def _keep(out: Path, name: str, value: Any) -> None:
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**_kept(out), name: value}, indent=1)
    (out / "measurement.json").write_text(text + "\n")


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command == "coverage":
        coverage(Path(arguments[0]))
    elif command == "machine":
        dense, pruned, fixed, data, out_folder = arguments
        machine(dense, pruned, fixed, data, Path(out_folder))
    else:
        Path(arguments[1]).write_text(page(_kept(Path(arguments[0]))))
