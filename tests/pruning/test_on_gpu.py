"""On a machine with an NVIDIA GPU: scores and refit are those of the CPU, recovery runs there."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dgprune.progress import SILENT
from dgprune.source import SourceSpec
from pruning import refit as refitting
from pruning.criteria import Calibration, Criterion, score
from pruning.device import pick_device, placed
from pruning.finetune_checkpoint import TRAINING, FinetuneSpec, finetune
from pruning.groups import trace_groups
from pruning.processes import ALONE
from pruning.surgery import apply_plan
from pruning.training import Task, Training, train
from pruning.training_spec import TrainSpec
from tests.conftest import TinyChain
from tests.pruning.test_refit import build, images, inner_plan
from tests.pruning.test_training import fresh

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU here"),
]
MODELS = ["vit_micro_patch4_32", "beit_base_patch16_224"]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("criterion", ["fisher", "hessian", "taylor"])
def test_scores_are_those_of_the_cpu(name: str, criterion: Criterion) -> None:
    calibration = Calibration(inputs=images(40), labels=torch.arange(40) % 10)
    found = []
    for device in (torch.device("cpu"), pick_device()):
        model = build(name)
        with placed(device, model):
            found.append(score(trace_groups(model), criterion, calibration, seed=0))
        assert next(model.parameters()).device.type == "cpu"
    for one, other in zip(*([s.width, *s.qk, *s.value, *s.mlp] for s in found), strict=True):
        np.testing.assert_allclose(one, other, rtol=5e-3, atol=1e-4 * np.abs(one).max())


@pytest.mark.parametrize("name", MODELS)
def test_the_refit_is_that_of_the_cpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dense = build(name)
    plan = inner_plan(dense, name)
    start = apply_plan(dense, plan, name)
    weights = []
    for device in (pick_device(), torch.device("cpu")):
        monkeypatch.setattr(refitting, "pick_device", lambda device=device: device)
        pruned = copy.deepcopy(start)
        refitting.refit(dense, pruned, plan, images(96))
        weights.append(pruned.state_dict())
    for key, value in start.state_dict().items():
        on_gpu, on_cpu = (found[key] for found in weights)
        assert on_gpu.device.type == "cpu"
        rounding = 1e-5 * on_cpu.norm()
        assert (on_gpu - on_cpu).norm() <= 0.01 * (on_cpu - value).norm() + rounding, key
    changed = [key for key, value in start.state_dict().items() if not value.equal(weights[0][key])]
    assert changed


@pytest.mark.parametrize("feature_weight", [0.0, 1.0])
def test_replayed_steps_are_those_of_pytorch(task: Task, feature_weight: float) -> None:
    spec = TrainSpec(epochs=4, batch_size=4, learning_rate=1e-3, feature_weight=feature_weight)
    task = replace(task, teacher=fresh())  # type: ignore[arg-type]
    losses = []
    for captured in (True, False):
        run = Training(model=fresh(), task=task, spec=spec, progress=SILENT, processes=ALONE)  # type: ignore[arg-type]
        assert run.captured is not None
        run.captured = run.captured if captured else None
        while not run.ended:
            run.one_step()
        losses.append(run.cursor.read_losses())
    assert len(losses[0]) == 4 * run.feed.steps_per_epoch
    assert len(set(losses[0])) == len(losses[0])  # each batch is another
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.02)


def test_the_same_seed_gives_the_same_weights(task: Task) -> None:
    spec = TrainSpec(epochs=2, batch_size=4, learning_rate=1e-3, augmentation="style")
    one, other = (train(fresh(), task, spec) for _ in range(2))  # type: ignore[arg-type]
    assert one[1] == other[1]
    assert all(one[0][key].equal(other[0][key]) for key in one[0])


@pytest.mark.parametrize("augmentation", ["photo", "style"])
def test_recovery_under_a_teacher_runs_in_bf16(
    chain: TinyChain, tmp_path: Path, augmentation: str
) -> None:
    source = SourceSpec(model=str(chain.pruned), data=chain.data, target=chain.target)
    train = TrainSpec(
        epochs=2, batch_size=8, augmentation=augmentation, feature_weight=1.0, feature_blocks=2
    )
    spec = FinetuneSpec(source=source, train=train, teacher=str(chain.dense))
    record = (finetune(spec, tmp_path / "s").path / TRAINING).read_text()
    assert '"device":"cuda"' in record.replace(" ", "") and '"bf16"' in record
