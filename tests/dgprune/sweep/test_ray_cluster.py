"""Sweeps on a real Ray cluster of several nodes, all on this machine: shares of GPUs, lost nodes.

The GPUs are numbers that the nodes are started with. Ray hands them out as it does real ones, and
a cell sees its own in CUDA_VISIBLE_DEVICES.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dgprune.stage import Done
from dgprune.sweep.sweep import SweepSpec, sweep
from tests.dgprune.sweep.test_ray import RAY
from tests.dgprune.sweep.test_sweep import Heard, of, start, temporaries, until, whole_run
from tests.dgprune.sweep.trivial import calls, invoke, write_plan

pytestmark = RAY


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A cluster whose head takes no cell."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    yield cluster
    cluster.shutdown()


@pytest.fixture
def spec(cluster: Any, data_folder: Path, tmp_path: Path) -> SweepSpec:
    plan = write_plan(tmp_path / "plan.toml", data_folder)
    return SweepSpec(plan=plan, out=tmp_path / "out", ray=cluster.address)


def meeting(arguments: Sequence[str]) -> Done:
    """The trivial command; one that prunes waits for another that does so on the same GPU."""
    if arguments[0] == "prune":
        store = Path(arguments[arguments.index("--out") + 1])
        gpu = store.parent / f"gpu-{os.environ.get('CUDA_VISIBLE_DEVICES')}"
        gpu.mkdir(exist_ok=True)
        (gpu / f"{os.getpid()}").touch()
        until(lambda: len(list(gpu.iterdir())) >= 2, 100)
    return invoke(arguments)


def test_two_cells_share_a_gpu_where_each_takes_half(
    cluster: Any, spec: SweepSpec, data_folder: Path
) -> None:
    cluster.add_node(num_cpus=3, num_gpus=1)
    write_plan(spec.plan, data_folder, criteria=["l1"], targets=["domain1"], seeds=(0, 1))
    heard = Heard()
    assert sweep(replace(spec, gpus_per_cell=0.5), meeting, heard).exit_code == 0
    assert "4 cells, 0 already done, 2 at a time" in heard.lines[0]  # three cores, one GPU
    assert [path.name for path in spec.out.parent.glob("gpu-*")] == ["gpu-0"]
    assert set(calls(spec.out).values()) == {1}


def test_the_cells_of_a_lost_node_go_elsewhere(cluster: Any, spec: SweepSpec) -> None:
    kept, lost = (cluster.add_node(num_cpus=1) for _ in range(2))
    of(spec, ("slow-2", "slow-2.1"))
    process = start(spec, "--ray", cluster.address)
    until(lambda: len(temporaries(spec.out)) == 2)  # each node has one core, and cuts
    cluster.remove_node(lost, allow_graceful=False)
    told = process.communicate(timeout=120)[1]
    assert process.returncode == 0, told
    assert "2 at a time" in told
    assert "again: " in told
    assert kept in cluster.worker_nodes
    assert (spec.out / "records.jsonl").read_bytes() == whole_run(spec)
    assert set(calls(spec.out).values()) == {1}
