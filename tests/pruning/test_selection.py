"""Which evaluation is kept: by the sources, or by the target on request; and when it ends."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dgprune.checkpoint import open_checkpoint
from dgprune.data.images import load_images
from dgprune.errors import DgpruneError
from dgprune.lineage import chosen_by_oracle
from dgprune.source import SourceSpec
from pruning import finetune_checkpoint
from pruning.finetune_checkpoint import TRAINING, FinetuneSpec, finetune
from pruning.training import Task, Training, train
from pruning.training_spec import Averaging, TrainSpec
from tests.conftest import MICRO, TinyChain
from tests.fakes.images import images_of
from tests.pruning.test_training import fresh

SPEC = TrainSpec(epochs=4, batch_size=4, learning_rate=1e-3, augmentation="none")


def with_oracle(task: Task, labels: int) -> Task:
    """The task, its validation images standing for a target whose every label is `labels`."""
    images = task.validation
    target = images_of(images.pixels, np.full_like(images.labels, labels), images.samples)
    return dataclasses.replace(task, oracle=target)


def test_the_oracle_chooses_where_it_is_asked(task: Task) -> None:
    by_sources = train(fresh(), task, SPEC)[1]  # type: ignore[arg-type]
    chosen = set()
    for label in (0, 1):
        _, record = train(fresh(), with_oracle(task, label), SPEC)  # type: ignore[arg-type]
        seen = [epoch.oracle for epoch in record.epochs]
        assert seen[record.chosen] == max(seen)  # type: ignore[type-var]
        assert record.chosen == seen.index(max(seen))  # type: ignore[type-var]
        assert [e.source_val for e in record.epochs] == [e.source_val for e in by_sources.epochs]
        chosen.add(record.chosen)
    assert by_sources.epochs[0].oracle is None
    scores = [epoch.score for epoch in by_sources.epochs]
    assert by_sources.chosen == scores.index(max(scores))


def test_an_average_over_the_sources_valley_has_no_oracle() -> None:
    with pytest.raises(DgpruneError, match="does nothing with --averaging swad"):
        TrainSpec(averaging="swad", selection="oracle")


def test_oracle_selection_is_in_the_lineage_and_sees_the_target(
    chain: TinyChain, tmp_path: Path
) -> None:
    source = SourceSpec(model=MICRO, weights="random", data=chain.data, target=chain.target)
    lineages = []
    for selection in ("source-val", "oracle"):
        spec = TrainSpec(epochs=1, batch_size=8, selection=selection)
        folder = finetune(FinetuneSpec(source=source, train=spec), tmp_path).path
        lineages.append(open_checkpoint(folder).meta.lineage)
        (epoch,) = json.loads((folder / TRAINING).read_text())["epochs"]
        assert (epoch["oracle"] is None) == (selection == "source-val")
    assert [chosen_by_oracle(lineage) for lineage in lineages] == [False, True]
    assert lineages[0][-1].digest != lineages[1][-1].digest


def test_the_target_is_not_loaded_under_source_selection(
    chain: TinyChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[str] = set()

    def listening(data, samples, *more, **options):  # type: ignore[no-untyped-def]
        seen.update(sample.domain for sample in samples)
        return load_images(data, samples, *more, **options)

    monkeypatch.setattr(finetune_checkpoint, "load_images", listening)
    source = SourceSpec(model=MICRO, weights="random", data=chain.data, target=chain.target)
    finetune(FinetuneSpec(source=source, train=TrainSpec(epochs=1)), tmp_path)
    assert seen and chain.target not in seen


def test_training_ends_where_patience_does(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Training.evaluate

    def worse_and_worse(self: Training) -> None:
        whole(self)
        last = self.epochs.pop()
        falling = {domain: 0.9 - 0.1 * len(self.epochs) for domain in last.source_val}
        rising = 0.1 * len(self.epochs)  # of the target, which must not prolong the training
        self.epochs.append(dataclasses.replace(last, source_val=falling, oracle=rising))

    monkeypatch.setattr(Training, "evaluate", worse_and_worse)
    spec = dataclasses.replace(SPEC, epochs=9, patience=3)
    _, record = train(fresh(), task, spec)  # type: ignore[arg-type]
    assert len(record.epochs) == 4


@pytest.mark.parametrize("averaging", ["ema", "swad"])
def test_an_average_is_what_is_evaluated_and_kept(task: Task, averaging: Averaging) -> None:
    spec = dataclasses.replace(SPEC, averaging=averaging)
    model = fresh()
    kept, record = train(model, task, spec)  # type: ignore[arg-type]
    plain, plain_record = train(fresh(), task, SPEC)  # type: ignore[arg-type]
    assert any(not torch.equal(kept[key], plain[key]) for key in plain)
    assert [e.loss for e in record.epochs] == [e.loss for e in plain_record.epochs]  # same steps
    if averaging == "swad":
        assert record.averaged is not None and record.source_val == record.kept


def test_evaluations_come_as_often_as_asked(task: Task) -> None:
    spec = dataclasses.replace(SPEC, epochs=2, evaluate_every=3)
    _, record = train(fresh(), task, spec)  # type: ignore[arg-type]
    steps = 2 * -(-len(task.train) // 4)
    assert [epoch.step for epoch in record.epochs] == [*range(3, steps, 3), steps]
