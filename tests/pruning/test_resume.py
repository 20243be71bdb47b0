"""A training that is killed, at any step, ends in the same numbers as one that never was."""

import dataclasses
from itertools import count
from pathlib import Path

import pytest
import torch

from dgprune.checkpoint import load_model, open_checkpoint
from dgprune.errors import DgpruneError
from dgprune.models import Weights
from dgprune.source import SourceSpec
from pruning.finetune_checkpoint import FinetuneSpec, finetune
from pruning.resume import Resume
from pruning.training import Task, Training, train
from pruning.training_record import TrainingRecord
from pruning.training_spec import Averaging, TrainSpec
from tests.conftest import MICRO, TinyChain
from tests.pruning.test_training import fresh

SPEC = TrainSpec(
    epochs=3,
    batch_size=4,
    learning_rate=1e-3,
    augmentation="photo",
    evaluate_every=3,
    mixup=0.2,
    coral=0.5,
    domain_balanced=True,
    layer_decay=0.8,
)
STEPS = 12


class Killed(Exception):
    """What a kill between two steps leaves behind is what an exception there does."""


def run(task: Task, spec: TrainSpec, resume: Resume | None) -> tuple[Weights, TrainingRecord]:
    return train(fresh(), task, spec, resume=resume)  # type: ignore[arg-type]


def kill_after(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    whole = Training.one_step

    def one_step(self: Training) -> None:
        if self.cursor.step == step:
            raise Killed
        whole(self)

    monkeypatch.setattr(Training, "one_step", one_step)


AVERAGES: tuple[Averaging, ...] = ("none", "ema", "swad")


@pytest.fixture(scope="module")
def never_killed(task: Task) -> dict[str, tuple[Weights, TrainingRecord]]:
    return {name: run(task, dataclasses.replace(SPEC, averaging=name), None) for name in AVERAGES}


@pytest.mark.parametrize("averaging", AVERAGES)
@pytest.mark.parametrize("step", range(1, STEPS))
def test_killed_at_any_step_it_ends_in_the_same_numbers(
    task: Task,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    never_killed: dict[str, tuple[Weights, TrainingRecord]],
    averaging: Averaging,
    step: int,
) -> None:
    spec = dataclasses.replace(SPEC, averaging=averaging)
    weights, record = never_killed[averaging]
    path = tmp_path / "state.safetensors"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_after(patch, step)
        calls = count()  # written after every second step, so that some work is done again
        patch.setattr(Resume, "due", lambda self: next(calls) % 2 == 1)
        run(task, spec, Resume(path=path, name="a"))
    done_steps: list[int] = []
    whole = Training.one_step

    def counted(self: Training) -> None:
        done_steps.append(self.cursor.step)
        whole(self)

    monkeypatch.setattr(Training, "one_step", counted)
    again, other = run(task, spec, Resume(path=path, name="a"))
    assert other == record
    assert all(torch.equal(again[key], value) for key, value in weights.items())
    assert done_steps[0] == step // 2 * 2  # it went on; it did not begin again


def test_a_teachers_projection_is_restored(
    chain: TinyChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = SourceSpec(model=str(chain.pruned), data=chain.data, target=chain.target)
    train_spec = TrainSpec(epochs=2, batch_size=4, feature_weight=1.0)
    spec = FinetuneSpec(source=source, train=train_spec, teacher=str(chain.dense))
    monkeypatch.setattr(Resume, "due", lambda self: True)
    expected = finetune(spec, tmp_path / "whole").path
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_after(patch, 5)
        finetune(spec, tmp_path / "killed")
    assert list((tmp_path / "killed").glob("training-*.safetensors"))
    found = finetune(spec, tmp_path / "killed").path
    for name in ("weights.safetensors", "training.json", "meta.json"):
        assert (found / name).read_bytes() == (expected / name).read_bytes()
    assert not list((tmp_path / "killed").glob("training-*.safetensors"))


@pytest.mark.parametrize("content", [b"", b"{}", b"\x80\x04 a pickle", b"half of a state"])
def test_a_state_that_is_none_is_one_clear_line(task: Task, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.safetensors"
    path.write_bytes(content)
    with pytest.raises(DgpruneError, match="is not the state of this training; remove it"):
        run(task, SPEC, Resume(path=path, name="a"))


def test_the_state_of_another_training_is_refused(
    task: Task,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Resume, "due", lambda self: True)
    path = tmp_path / "state.safetensors"
    run(task, SPEC, Resume(path=path, name="a"))
    with pytest.raises(DgpruneError, match="is not the state of this training"):
        run(task, SPEC, Resume(path=path, name="b"))


def test_a_state_is_written_rarely_where_writing_takes_long() -> None:
    resume = Resume(path=Path("unused"), name="a", least_s=0.0)
    assert resume.due()
    resume.cost_s = 1e6
    assert not resume.due()


def test_a_loss_that_breaks_keeps_the_best_weights_before(
    chain: TinyChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Training.evaluate

    def evaluate(self: Training) -> None:
        whole(self)
        if len(self.epochs) == 2:
            with torch.no_grad():
                self.model.get_parameter("norm.weight")[0] = float("nan")

    monkeypatch.setattr(Training, "evaluate", evaluate)
    source = SourceSpec(model=MICRO, weights="random", data=chain.data, target=chain.target)
    spec = FinetuneSpec(source=source, train=TrainSpec(epochs=4, batch_size=8))
    with pytest.raises(DgpruneError, match="became nan in epoch 3, step 1; lower --lr; ") as error:
        finetune(spec, tmp_path)
    (kept,) = tmp_path.glob("diverged-*")
    assert str(kept) in str(error.value)
    assert all(torch.isfinite(p).all() for p in load_model(open_checkpoint(kept)).parameters())
    assert open_checkpoint(kept).meta.lineage[-1].spec["diverged"] is True
    assert not list(tmp_path.glob("finetuned-*"))
    assert not list(tmp_path.glob("training-*"))
