"""The cold start of a file: what is timed, weighed, asked for and left out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmark import cold
from benchmark.cells import LatencySpec
from benchmark.job import ArmJob, Job
from benchmark.latency import bench
from benchmark.tiers import TIERS
from dgprune.records import LatencyRecord, RuntimeSpec, read_records
from dgprune.runtimes import onnxruntime as onnxruntime_runtime
from tests.conftest import TinyChain


def test_a_cold_start_may_be_left_out(chain: TinyChain, tmp_path: Path) -> None:
    spec = LatencySpec(
        artefact=str(chain.pruned_artefact),
        data=chain.data,
        batch_sizes=(1,),
        tier="smoke",
        cold_start=False,
    )
    file, asked = tmp_path / "r.jsonl", replace(spec, cold_start=True)
    (entry,) = read_records(bench(spec, file).path)
    assert isinstance(entry.record, LatencyRecord)
    assert entry.record.replicas and not entry.record.cold and not entry.record.failures
    assert not bench(spec, file).fresh
    assert bench(asked, file).fresh  # a record without it does not hold what is asked for
    newest = read_records(file)[-1].record
    assert isinstance(newest, LatencyRecord) and newest.cold
    assert not bench(asked, file).fresh and not bench(spec, file).fresh


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_cold_start_times_neither_imports_nor_the_check_of_the_file(
    chain: TinyChain, runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []

    def clock() -> int:
        happened.append("clock")
        return len(happened)

    def checked(file: Path) -> None:
        happened.append("check")

    monkeypatch.setattr(onnxruntime_runtime, "require_own_data", checked)
    monkeypatch.setattr("benchmark.cold.time.perf_counter_ns", clock)
    spec = RuntimeSpec(name=runtime, provider="cpu", threads=1)
    job = Job(
        arms={"candidate": ArmJob(folder=str(chain.pruned_artefact), runtime=spec)},
        spec=TIERS["smoke"],
        batch_size=1,
        batches=1,
    )
    cold.run(job, np.zeros((1, 32, 32, 3), dtype=np.uint8))
    assert happened == ["check", *["clock"] * 4]


def test_a_cold_start_is_measured_of_each_arm(chain: TinyChain) -> None:
    for entry in read_records(chain.records):
        if isinstance(entry.record, LatencyRecord):
            cold = entry.record.cold
            assert set(cold) == {"baseline", "candidate"}
            assert all(c.load_ns > 0 and c.first_call_ns > 0 for c in cold.values())
            assert all(c.host_bytes > 0 and c.device_bytes is None for c in cold.values())
