"""One training in two processes: the same gradients as in one, one checkpoint."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dgprune.checkpoint import load_model, open_checkpoint
from dgprune.data import Sample
from dgprune.errors import DgpruneError
from pruning.batches import Cursor, Feed
from pruning.invariance import coral_loss
from pruning.processes import Processes, count_of_processes, joined_processes
from pruning.sources_check import require_sources
from pruning.training import Task
from pruning.training_spec import TrainSpec
from tests.conftest import MICRO, TinyChain


def run(
    chain: TinyChain, out: Path, *more: str, processes: int, model: str = MICRO
) -> subprocess.CompletedProcess[str]:
    launcher = ["-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--standalone"]
    command = [
        *(sys.executable, *(launcher if processes > 1 else []), "-m", "dgprune"),
        *("finetune", model, "--epochs", "2", "--batch-size", "5"),
        *(("--weights", "random") if model == MICRO else ()),
        *("--data", chain.data, "--target", chain.target, "--out", str(out), *more),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def finetune(chain: TinyChain, out: Path, *more: str, processes: int, model: str = MICRO) -> Path:
    done = run(chain, out, *more, processes=processes, model=model)
    assert done.returncode == 0, done.stderr
    (folder,) = out.glob("finetuned-*")
    assert done.stdout.split() == [str(folder)]  # told once, by the first process
    return folder


def test_two_processes_take_the_steps_of_one(chain: TinyChain, tmp_path: Path) -> None:
    more = ("--augmentation", "none", "--averaging", "ema")
    alone = finetune(chain, tmp_path / "one", *more, processes=1)
    shared = finetune(chain, tmp_path / "two", *more, processes=2)
    weights = [dict(load_model(open_checkpoint(f)).named_parameters()) for f in (alone, shared)]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-3, atol=1e-5)
    assert '"processes":2' in (shared / "training.json").read_text()
    assert open_checkpoint(shared).meta.lineage[-1].spec["processes"] == 2
    assert open_checkpoint(shared).meta.digest != open_checkpoint(alone).meta.digest
    assert sorted(path.name for path in shared.parent.iterdir() if path.is_dir()) == [shared.name]


def test_two_processes_start_from_the_same_projections(chain: TinyChain, tmp_path: Path) -> None:
    assert open_checkpoint(chain.pruned).structure.embed_dim < 96  # there are projections
    more = ("--augmentation", "none", "--teacher", str(chain.dense), "--feature-weight", "5")
    one, two = (
        finetune(chain, tmp_path / str(n), *more, processes=n, model=str(chain.pruned))
        for n in (1, 2)
    )
    alone, shared = (dict(load_model(open_checkpoint(f)).named_parameters()) for f in (one, two))
    for name, value in alone.items():
        torch.testing.assert_close(shared[name], value, rtol=1e-3, atol=1e-5)


def test_each_process_draws_views_of_its_own(chain: TinyChain, tmp_path: Path) -> None:
    folders = [
        finetune(chain, tmp_path / name, "--augmentation", "photo", processes=2)
        for name in ("a", "b")
    ]
    texts = [(folder / "weights.safetensors").read_bytes() for folder in folders]
    assert texts[0] == texts[1]  # drawn by seed, step and process: the same again


def test_what_stops_the_first_process_is_one_line_in_each(chain: TinyChain, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    done = run(chain, tmp_path / "out", processes=2)
    assert done.returncode != 0
    assert "holds something else" in done.stderr
    assert "dgprune/cli.py" not in done.stderr  # no traceback of ours


def test_without_torchrun_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert count_of_processes() == 1


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    joined = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in (joined | {"LOCAL_RANK": "1"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.set_device", taken.append)
    with (
        pytest.raises(DgpruneError, match=r"finds 1 GPU.* --nproc-per-node 1"),
        joined_processes(),
    ):
        pytest.fail("it was joined")
    assert taken == []


@pytest.mark.parametrize("rank", [0, 1])
def test_coral_compares_the_domains_of_a_balanced_batch_in_every_process(
    task: Task, rank: int
) -> None:
    """As many processes as domains: every n-th image would be of one domain."""
    spec = TrainSpec(coral=1.0, domain_balanced=True, batch_size=8, augmentation="none")
    feed = Feed(
        images=task.train,
        preprocessing=task.preprocessing,
        spec=spec,
        device=torch.device("cpu"),
        processes=Processes(rank=rank, count=2),
    )
    batch, count = feed.batch(Cursor())
    assert (len(batch.labels), count) == (4, 8)
    assert coral_loss(batch.views.flatten(1), batch.domains).item() > 0


@given(domains=st.integers(2, 6), processes=st.integers(1, 8), more=st.integers(0, 9))
@settings(deadline=None)
def test_every_share_of_a_balanced_batch_has_two_images_of_two_domains(
    domains: int, processes: int, more: int
) -> None:
    spec = TrainSpec(coral=1.0, domain_balanced=True, batch_size=(domains + 2) * processes + more)
    samples = [Sample(domain=str(d), label=0, key=str(d)) for d in range(domains)]
    require_sources(spec, samples, processes)
    batch = torch.arange(spec.batch_size)
    shares = [Processes(rank=r, count=processes).share(batch) for r in range(processes)]
    assert torch.equal(torch.cat(shares), batch)
    for share in shares:
        assert (torch.bincount(share % domains) >= 2).sum() >= 2
    too_few = (domains + 2) * processes - 1
    with pytest.raises(DgpruneError, match="--coral does nothing with --batch-size"):
        require_sources(replace(spec, batch_size=too_few), samples, processes)


def test_batches_that_are_too_small_for_coral_name_the_processes() -> None:
    samples = [Sample(domain=d, label=0, key=d) for d in "abc"]
    spec = TrainSpec(coral=1.0, batch_size=8)
    require_sources(spec, samples, 2)
    with pytest.raises(
        DgpruneError,
        match="--batch-size 8 in 3 processes, 2 each: .* need 4; pass --batch-size 12 or more",
    ):
        require_sources(spec, samples, 3)
    with pytest.raises(DgpruneError, match="dealt over 3 domains need 5; pass --batch-size 5 or"):
        require_sources(replace(spec, domain_balanced=True, batch_size=4), samples, 1)
