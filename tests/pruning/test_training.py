"""Training: selection on the sources, repeatability, distillation, and a loss that breaks."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from dgprune.checkpoint import load_model, open_checkpoint
from dgprune.errors import DgpruneError
from dgprune.models import create
from dgprune.progress import Plain
from dgprune.source import SourceSpec
from pruning import training
from pruning.augmentation import KINDS, augment, mix_amplitudes
from pruning.captured import Captured
from pruning.finetune_checkpoint import FinetuneSpec, _asked, finetune
from pruning.optimiser import Schedule
from pruning.training import Task, Training, train
from pruning.training_record import Diverged
from pruning.training_spec import TrainSpec
from tests.conftest import MICRO, TinyChain, make_folder

SPEC = TrainSpec(epochs=3, batch_size=4, learning_rate=1e-3, augmentation="none")


def fresh() -> torch.nn.Module:
    torch.manual_seed(0)
    return create(MICRO, num_classes=2, image_size=None)


def test_it_learns_and_keeps_the_best_epoch(task: Task) -> None:
    best, record = train(fresh(), task, SPEC)  # type: ignore[arg-type]
    scores = [epoch.score for epoch in record.epochs]
    assert scores[record.chosen] == max(scores)
    assert record.epochs[-1].loss < record.epochs[0].loss
    assert set(record.epochs[0].source_val) == {"domain0", "domain1"}
    assert best.keys() == fresh().state_dict().keys()


def test_the_same_seed_gives_the_same_numbers(task: Task) -> None:
    one, other = (train(fresh(), task, SPEC) for _ in range(2))  # type: ignore[arg-type]
    assert one[1] == other[1]
    assert all(torch.equal(one[0][key], other[0][key]) for key in one[0])


def test_steps_that_cannot_be_recorded_are_computed_one_by_one(
    task: Task, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = train(fresh(), task, SPEC)  # type: ignore[arg-type]
    monkeypatch.setattr(training, "can_capture", lambda *_: True)
    monkeypatch.setattr(Captured, "_record", refuse)
    found = train(fresh(), task, SPEC, Plain())  # type: ignore[arg-type]
    assert found[1] == expected[1]
    assert all(torch.equal(found[0][key], value) for key, value in expected[0].items())
    told = capsys.readouterr().err
    assert told.count("no CUDA graph of a step: out of memory") == 1


def refuse(captured: Captured, batch: object) -> None:
    raise RuntimeError("out of memory\nmore about it")


def test_bf16_on_a_cpu_takes_plain_attention_for_the_training_only(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    model = fresh()

    def note(module: torch.nn.Module, inputs: object) -> None:
        seen.append(bool(model.blocks[0].attn.fused_attn))  # type: ignore[union-attr,index]

    model.blocks[0].register_forward_pre_hook(note)  # type: ignore[union-attr,index]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    record = train(model, task, dataclasses.replace(SPEC, precision="bf16"))[1]  # type: ignore[arg-type]
    assert record.precision == "bf16"
    assert seen
    assert not any(seen)
    assert model.blocks[0].attn.fused_attn  # type: ignore[union-attr,index]


def test_a_teacher_changes_the_loss_and_is_not_changed(task: Task) -> None:
    teacher = fresh()
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    taught = dataclasses.replace(task, teacher=teacher)  # type: ignore[arg-type]
    record = train(fresh(), taught, SPEC)[1]  # type: ignore[arg-type]
    assert record != train(fresh(), task, SPEC)[1]  # type: ignore[arg-type]
    assert all(torch.equal(before[k], v) for k, v in teacher.state_dict().items())


def test_a_loss_that_is_no_number_stops_with_its_place(task: Task) -> None:
    broken = fresh()
    with torch.no_grad():
        broken.get_parameter("norm.weight")[0] = float("inf")
    with pytest.raises(DgpruneError, match=r"the loss became nan in epoch 1, step 1; lower --lr"):
        train(broken, task, SPEC)  # type: ignore[arg-type]


def test_weights_that_break_in_the_last_step_are_no_result(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All losses were numbers then; the weights of the evaluation before are kept."""
    one_step, steps = Training.one_step, SPEC.epochs * (len(task.train) // SPEC.batch_size)

    def breaks_at_last(self: Training) -> None:
        one_step(self)
        if self.cursor.step == steps:
            with torch.no_grad():
                self.model.get_parameter("norm.weight")[0] = float("nan")

    monkeypatch.setattr(Training, "one_step", breaks_at_last)
    for averaging in ("none", "swad"):
        spec = dataclasses.replace(SPEC, averaging=averaging)
        with pytest.raises(Diverged, match=f"validation loss became nan after step {steps}") as bad:
            train(fresh(), task, spec)  # type: ignore[arg-type]
        assert all(value.isfinite().all() for value in bad.value.best.values()) and bad.value.best


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"coral": 1.0}, "--coral does nothing with one source domain"),
        ({"domain_balanced": True}, "--domain-balanced does nothing with one source domain"),
    ],
)
def test_what_needs_two_domains_is_refused_with_one(
    tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    data = str(make_folder(tmp_path / "data", domains=2))
    source = SourceSpec(model=MICRO, weights="random", data=data, target="domain1")
    spec = FinetuneSpec(source=source, train=dataclasses.replace(SPEC, **change))
    with pytest.raises(DgpruneError, match=says):
        finetune(spec, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_options_that_would_do_nothing_are_refused(chain: TinyChain, tmp_path: Path) -> None:
    with pytest.raises(DgpruneError, match="--coral does nothing with --batch-size 3"):
        TrainSpec(coral=1.0, batch_size=3)
    source = SourceSpec(model=str(chain.pruned), data=chain.data, target=chain.target)
    spec = FinetuneSpec(
        source=source,
        train=dataclasses.replace(SPEC, distill_weight=0.0),
        teacher=str(chain.dense),
    )
    with pytest.raises(DgpruneError, match="--teacher does nothing with --distill-weight 0"):
        finetune(spec, tmp_path / "out")


@pytest.mark.parametrize("kind", KINDS)
def test_augmentation_keeps_shape_and_range_and_follows_its_generator(kind: str) -> None:
    images = torch.rand(6, 3, 32, 32)
    views = [augment(images, kind, torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert views[0].shape == images.shape
    assert views[0].min() >= 0
    assert views[0].max() <= 1
    assert torch.equal(views[0], views[1])
    assert torch.equal(views[0], views[2]) == (kind == "none")


def test_schedule_warms_up_then_falls_to_zero() -> None:
    schedule = Schedule(warmup=4, total=20)
    rates = [schedule(step) for step in range(21)]
    assert rates[:4] == sorted(rates[:4])
    assert max(rates) == rates[4] == pytest.approx(1.0)
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rates[20] == pytest.approx(0.0)


def test_no_warm_up_is_none_and_a_short_one_a_step() -> None:
    none, short = Schedule.after(0.0, total=20), Schedule.after(0.5, total=20)
    assert [none(0), short(0), short(1)] == [1.0, 0.5, 1.0]


def test_without_warm_up_the_first_step_has_the_whole_rate(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, rates = dataclasses.replace(SPEC, epochs=1, warmup_epochs=0.0), list[float]()
    one_step = Training.one_step

    def noted(self: Training) -> None:
        one_step(self)
        rates.append(self.optimiser.param_groups[0]["lr"])

    monkeypatch.setattr(Training, "one_step", noted)
    train(fresh(), task, spec)  # type: ignore[arg-type]
    assert rates[0] == spec.learning_rate


@pytest.mark.parametrize(("epochs", "warmup"), [(1, 50.0), (1, 1.0), (3, 3.5)])
def test_a_warm_up_that_never_ends_is_refused(epochs: int, warmup: float) -> None:
    with pytest.raises(DgpruneError, match=f"--warmup-epochs {warmup:g} is no less than --epochs"):
        TrainSpec(epochs=epochs, warmup_epochs=warmup)
    assert TrainSpec(epochs=1).warmup_epochs < 1  # the default fits the shortest training


def test_what_a_changed_option_made_before_has_another_name(chain: TinyChain) -> None:
    source = SourceSpec(model=str(chain.dense), data=chain.data, target=chain.target)

    def revised(**options: object) -> set[str]:
        train = TrainSpec(epochs=2, **options)  # type: ignore[arg-type]
        asked = _asked(FinetuneSpec(source=source, train=train), None)
        return {"valley", "warmup", "moments"} & asked.keys()

    assert revised() == set()  # a plain training keeps its name
    assert revised(averaging="swad", coral=1.0) == {"valley", "moments"}
    assert revised(warmup_epochs=0) == {"warmup"}


def test_a_teacher_that_has_seen_the_target_is_refused(chain: TinyChain, tmp_path: Path) -> None:
    source = SourceSpec(model=MICRO, weights="random", data=chain.data, target="domain0")
    spec = FinetuneSpec(source=source, train=SPEC, teacher=str(chain.dense))
    with pytest.raises(DgpruneError, match="without domain domain2 and has seen what"):
        finetune(spec, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_student_of_its_teacher_keeps_its_own_structure(chain: TinyChain, tmp_path: Path) -> None:
    source = SourceSpec(model=str(chain.pruned), data=chain.data, target=chain.target)
    spec = FinetuneSpec(source=source, train=SPEC, teacher=str(chain.dense))
    student = open_checkpoint(finetune(spec, tmp_path / "out").path)
    assert student.structure == open_checkpoint(chain.pruned).structure
    assert student.meta.lineage[-1].spec["teacher"] == open_checkpoint(chain.dense).meta.digest
    assert load_model(student)(torch.zeros(1, 3, 32, 32)).shape == (1, 2)


def test_style_takes_amplitudes_of_another_image_and_keeps_phases() -> None:
    rng = torch.Generator().manual_seed(0)
    images = 0.4 + 0.02 * torch.rand(4, 3, 16, 16, generator=rng)
    images[:2] += 0.2  # two styles: bright and dark, far from the limits that clip
    mixed = mix_amplitudes(images, torch.Generator().manual_seed(3))
    before, after = torch.fft.rfft2(images), torch.fft.rfft2(mixed)
    assert not torch.allclose(before.abs(), after.abs(), atol=1e-3)
    assert torch.allclose(before.angle().cos(), after.angle().cos(), atol=1e-2)
    levels = images.mean((1, 2, 3))
    assert levels.min() - 1e-4 <= mixed.mean() <= levels.max() + 1e-4
