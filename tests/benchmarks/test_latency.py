"""Latency of one call, by runtime and arm: `make bench`. `make test` runs each once, on a tiny one.

One thread on one core, as the timing process has it; here torch is in the process as well, which
costs nothing as long as its pool has one thread.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmark.job import pin
from benchmark.subject import open_subject, proven
from dgprune.records import RuntimeSpec
from tests.benchmarks.artefacts import ARMS, RUNTIMES, SMALL, Arms, installed, make_arms
from tests.conftest import TinyChain


@pytest.fixture(scope="session")
def arms(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Arms:
    """Folders to time; where nothing is timed, those that other tests have made."""
    if request.config.getoption("benchmark_enable"):
        return make_arms(tmp_path_factory.mktemp("bench") / "store", SMALL, installed(RUNTIMES))
    chain: TinyChain = request.getfixturevalue("chain")
    files = {"dense": chain.dense_artefact, "pruned": chain.pruned_artefact}
    checkpoints = {"dense": chain.dense, "pruned": chain.pruned}
    return {"onnxruntime": files, "openvino": files, "torch": checkpoints}


@pytest.fixture
def one_core() -> Iterator[None]:
    before = os.sched_getaffinity(0)
    pin(1)
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_latency(
    benchmark: BenchmarkFixture, arms: Arms, one_core: None, runtime: str, arm: str
) -> None:
    pytest.importorskip(runtime)
    subject = open_subject(Path(arms[runtime][arm]))
    spec = RuntimeSpec(name=runtime, provider="cpu", threads=1)
    size = subject.subject.origin.preprocessing.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
    with subject.run(spec) as loaded:
        proven(loaded, subject, spec, 1)
        loaded.bind([subject.inputs(pixels)])
        benchmark.extra_info.update(
            runtime=runtime,
            arm=arm,
            batch_size=1,
            sha256=subject.subject.sha256,
            load_average=os.getloadavg()[0],
        )
        benchmark(loaded.infer, 0)
        assert loaded.output(0).shape == (1, len(subject.subject.origin.classes))
