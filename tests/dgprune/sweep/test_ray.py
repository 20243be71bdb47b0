"""Sweeps on a real Ray, started on this machine."""

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from dgprune.errors import DgpruneError
from dgprune.sweep.ray_pool import _connect
from dgprune.sweep.sweep import SweepSpec
from tests.dgprune.sweep.test_sweep import (
    SLOW,
    Heard,
    alive,
    lines_of,
    of,
    run,
    start,
    until,
    whole_run,
)
from tests.dgprune.sweep.trivial import calls, log_of, write_plan

RAY = pytest.mark.skipif("not __import__('importlib').util.find_spec('ray')", reason="needs ray")


@pytest.fixture
def spec(data_folder: Path, tmp_path: Path) -> SweepSpec:
    plan = write_plan(tmp_path / "plan.toml", data_folder)
    return SweepSpec(plan=plan, out=tmp_path / "out", ray="auto")


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@RAY
def test_a_killed_sweep_on_ray_goes_on_to_the_same_records(spec: SweepSpec) -> None:
    of(spec, SLOW)
    process = start(spec, "--ray", "auto")
    until(lambda: len(lines_of(spec)) >= 3)
    worker = int(log_of(spec.out)[-1][-2])
    os.kill(worker, signal.SIGKILL)  # its cell goes elsewhere
    until(lambda: len(lines_of(spec)) >= 5)
    workers = {int(words[-2]) for words in log_of(spec.out)}
    process.kill()
    told = process.communicate(timeout=20)[1]
    assert "again: " in told
    assert "worker was lost" in told
    until(lambda: not any(map(alive, workers)), 30)
    heard = Heard()
    assert run(replace(spec, resume=True), heard).exit_code == 0
    assert heard.lines[0].startswith("9 cells, ")
    assert (spec.out / "records.jsonl").read_bytes() == whole_run(spec)
    assert set(calls(spec.out).values()) == {1}


@RAY
def test_sigterm_stays_what_the_command_made_of_it() -> None:
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        ray = _connect("auto")
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
        ray.shutdown()
    finally:
        signal.signal(signal.SIGTERM, before)


@RAY
@pytest.mark.parametrize("kind", ["closed", "silent", "nowhere", "malformed"])
def test_an_address_that_does_not_answer(spec: SweepSpec, silent: int, kind: str) -> None:
    addresses = {"silent": f"127.0.0.1:{silent}", "closed": "127.0.0.1:1"}
    addresses |= {"nowhere": "no-such-host.invalid:6379", "malformed": "ray://head:10001"}
    begun = time.monotonic()
    with pytest.raises(DgpruneError, match="does not answer|must be auto or HOST:PORT") as error:
        run(replace(spec, ray=addresses[kind]))
    assert time.monotonic() - begun < 15  # the promise of --ray, not a speed
    assert addresses[kind] in str(error.value)
    assert not spec.out.exists()


@pytest.mark.parametrize(("gpus", "cpus", "says"), [(0.5, 1, "0 GPU"), (0.0, 3, "2 CPU")])
def test_a_cell_that_fits_no_cluster_is_refused(
    spec: SweepSpec, monkeypatch: pytest.MonkeyPatch, gpus: float, cpus: int, says: str
) -> None:
    left: list[str] = []
    cluster = SimpleNamespace(
        remote=lambda **needs: lambda function: function,
        cluster_resources=lambda: {"CPU": 2.0},
        shutdown=lambda: left.append("it"),
    )
    monkeypatch.setattr("dgprune.sweep.ray_pool._connect", lambda address: cluster)
    option = says.split()[1].lower()
    with pytest.raises(DgpruneError, match=f"offers {says} in all .* lower --{option}s-per-cell"):
        run(replace(spec, gpus_per_cell=gpus, cpus_per_cell=cpus))
    assert left == ["it"]


def test_ray_is_missing(spec: SweepSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dgprune.sweep.ray_pool.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(DgpruneError, match=r"not installed; pip install 'dgprune\[ray\]'"):
        run(spec)
    assert not spec.out.exists()


def test_a_named_cluster_that_is_gone_is_told_and_not_replaced(
    spec: SweepSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dgprune.sweep.ray_pool.find_spec", lambda name: object())
    monkeypatch.setattr("dgprune.sweep.ray_pool._answers", lambda address: False)
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    with pytest.raises(DgpruneError, match="RAY_ADDRESS is head:6379, where no Ray answers"):
        run(spec)
    assert not spec.out.exists()
