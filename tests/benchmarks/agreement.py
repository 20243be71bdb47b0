"""One file, two clocks: this harness beside another tool, in alternation, as medians in ms.

    python -m tests.benchmarks.agreement onnxruntime|openvino ARTEFACT

ONNX Runtime: `torch.utils.benchmark` around the same session in this process. OpenVINO: its own
`benchmark_app` in another one. One thread, one core, the same blank images.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmark.harness import Harness
from benchmark.job import pin
from benchmark.subject import OpenSubject, open_subject
from benchmark.tiers import tier
from benchmark.worker import HostClock
from dgprune.records import RuntimeSpec
from dgprune.runtimes import Runtime

ROUNDS, SECONDS = 6, 2.0


def main(name: str, folder: Path) -> dict[str, float]:
    """Medians by tool, each over `ROUNDS` parts of about `SECONDS`."""
    pin(1)
    subject = open_subject(folder)
    own: list[float] = []
    other: list[float] = []
    spec = RuntimeSpec(name=name, provider="cpu", threads=1)
    size = subject.subject.origin.preprocessing.image_size
    with subject.run(spec) as runtime:
        runtime.bind([subject.inputs(np.zeros((1, size, size, 3), np.uint8))])
        harness = _harness(runtime)
        harness._block("candidate", 0, 200)
        for _ in range(ROUNDS):
            own += _medians(harness)
            other.append(_torch(runtime) if name == "onnxruntime" else _benchmark_app(subject))
    tool = "torch.utils.benchmark" if name == "onnxruntime" else "benchmark_app"
    return {f"dgprune, {name}": statistics.median(own), tool: statistics.median(other)}


def _harness(runtime: Runtime) -> Harness:
    return Harness(
        arms={"candidate": runtime.infer}, batches=1, clock=HostClock(), spec=tier("default", 0)
    )


def _medians(harness: Harness) -> list[float]:
    """Median of each block of about 100 ms, in ms, for about `SECONDS`."""
    count = harness._iterations("candidate", harness._least("candidate"))
    blocks = [harness._block("candidate", n, count) for n in range(int(SECONDS / 0.1))]
    return [statistics.median(block.durations_ns) / 1e6 for block in blocks]


def _torch(runtime: Runtime) -> float:
    from torch.utils.benchmark import Timer

    timer = Timer("infer(0)", globals={"infer": runtime.infer}, num_threads=1)
    return float(timer.blocked_autorange(min_run_time=SECONDS).median * 1e3)


def _benchmark_app(subject: OpenSubject) -> float:
    with tempfile.TemporaryDirectory() as folder:
        size = subject.subject.origin.preprocessing.image_size
        command = [
            *(str(Path(sys.executable).with_name("benchmark_app")), "-m", str(subject.file)),
            *("-d", "CPU", "-api", "sync", "-hint", "none", "-nstreams", "1", "-nthreads", "1"),
            *("-infer_precision", "f32", "-shape", f"[1,3,{size},{size}]", "-t", f"{SECONDS:.0f}"),
            *("-report_type", "no_counters", "-json_stats", "-report_folder", folder),
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run(command, check=True, capture_output=True, env=environment)
        (report,) = Path(folder).glob("*.json")
        told = json.loads(report.read_text())
        return float(told["execution_results"]["latency (ms)"])


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]))))
