"""Training and recovery: one loop for one CPU, one GPU or several, resumable at any step."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from dgprune.data import Images, Preprocessing
from dgprune.models import Transformer, Weights, set_fused_attention
from dgprune.progress import SILENT, Progress
from pruning import averaging
from pruning.averaging import Swad, weights_of
from pruning.batches import Cursor, Feed, Pixels
from pruning.captured import Captured, can_capture
from pruning.device import has_bf16, pick_device
from pruning.distillation import Teacher, recovery_loss
from pruning.invariance import Batch
from pruning.optimiser import Schedule, adamw
from pruning.processes import ALONE, Processes
from pruning.resume import Resume
from pruning.selection import Score, evaluate_domains
from pruning.training_record import (
    Epoch,
    TrainingRecord,
    require_losses,
    require_validation,
)
from pruning.training_spec import TrainSpec
from pruning.training_state import restore, save

_CHECKED_EVERY = 16  # steps: asking for a loss makes a GPU wait
_FITTED_ON = 128  # images that start the projections to the features of a teacher


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is learnt: source images only, and the dense teacher where there is one.

    `oracle` are the target's images, for a training whose spec asks for oracle selection.
    """

    train: Images
    validation: Images
    preprocessing: Preprocessing
    teacher: Transformer | None = None
    oracle: Images | None = None


def train(
    model: Transformer,
    task: Task,
    spec: TrainSpec,
    progress: Progress = SILENT,
    resume: Resume | None = None,
    processes: Processes = ALONE,
) -> tuple[Weights, TrainingRecord]:
    """The weights that were kept, and the record of all evaluations.

    `model` is trained in place. With `resume`, a killed training goes on where it was. Raises
    Diverged where the loss stops being a number.
    """
    run = Training(model=model, task=task, spec=spec, progress=progress, processes=processes)
    state = resume.read() if resume else None
    if state:
        restore(run, *state)
        progress.line(f"going on at step {run.cursor.step} of {run.steps_in_all}")
    while not run.ended:
        run.one_step()
        if run.evaluation_due:
            run.evaluate()
        if resume and resume.due() and run.processes.rank == 0:
            run.check_losses()
            save(run, resume)
    return run.finish()


@dataclass(kw_only=True)
class Training:
    """A training under way: everything that the next step depends on."""

    model: Transformer
    task: Task
    spec: TrainSpec
    progress: Progress
    processes: Processes
    cursor: Cursor = field(default_factory=Cursor)
    epochs: list[Epoch] = field(default_factory=list)
    best: Weights = field(default_factory=dict)
    chosen: int = 0

    def __post_init__(self) -> None:
        spec, self.device = self.spec, pick_device()
        torch.manual_seed(spec.seed)
        self.model.to(self.device)
        self.feed = Feed(
            images=self.task.train,
            preprocessing=self.task.preprocessing,
            spec=spec,
            device=self.device,
            processes=self.processes,
        )
        self.teacher = None
        if self.task.teacher is not None:
            teacher = Teacher(self.task.teacher, self.model.embed_dim, spec.feature_blocks)
            self.teacher = teacher.to(self.device)
            if spec.feature_weight:
                self.teacher.require_same_tokens(self.model, next(iter(self.feed.plain(1))))
                self.teacher.fit_projections(self.model, self.feed.plain(_FITTED_ON))
        self.projection = list(self.teacher.projection.parameters()) if self.teacher else []
        self.processes.share_first(self.projection)
        self.optimiser = adamw(
            self.model,
            self.projection,
            learning_rate=spec.learning_rate,
            weight_decay=spec.weight_decay,
            layer_decay=spec.layer_decay,
        )
        self.rates = [group["lr"] for group in self.optimiser.param_groups]
        steps = self.feed.steps_per_epoch
        self.steps_in_all = spec.epochs * steps
        self.schedule = Schedule.after(spec.warmup_epochs * steps, total=self.steps_in_all)
        self.average = averaging.start(spec.averaging, spec.ema_decay, self.model)
        self.validation = Pixels(images=self.task.validation, device=self.device)
        self.bf16 = spec.precision == "bf16" or (spec.precision == "auto" and has_bf16(self.device))
        self.plain_attention = self.bf16 and self.device.type == "cpu"
        if self.plain_attention:  # the fused kernel's backward pass takes a third of such a step
            set_fused_attention(self.model, False)
        self.trained = [*self.model.parameters(), *self.projection]
        possible = can_capture(spec, self.device, self.processes)
        self.captured = Captured(self._loss, self.trained) if possible else None

    @property
    def ended(self) -> bool:
        """Whether all steps are done, or there is no hope of a better evaluation."""
        scores = [epoch.score for epoch in self.epochs]  # the sources', whatever selects
        since = len(scores) - 1 - scores.index(max(scores)) if scores else 0
        tired = 0 < self.spec.patience <= since
        closed = isinstance(self.average, Swad) and self.average.closed
        return self.cursor.step >= self.steps_in_all or tired or closed

    @property
    def evaluation_due(self) -> bool:
        """Whether the model is to be evaluated after this step."""
        every = self.spec.evaluate_every or self.feed.steps_per_epoch
        return self.cursor.step % every == 0 or self.cursor.step == self.steps_in_all

    def one_step(self) -> None:
        """One step of the optimiser."""
        batch, count = self.feed.batch(self.cursor)
        for rate, group in zip(self.rates, self.optimiser.param_groups, strict=True):
            group["lr"] = rate * self.schedule(self.cursor.step)
        self.model.train()
        if self.captured is not None and self.captured.takes(batch):
            loss = self.captured(batch)
        else:
            loss = self._gradients(batch, count)
            if self.captured is not None and self.captured.failure and not self.cursor.step:
                self.progress.line(f"no CUDA graph of a step: {self.captured.failure}")
        self.processes.add_up_gradients(self.trained)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.spec.clip_norm)
        self.optimiser.step()
        self.cursor.step += 1
        self.cursor.losses.append(self.processes.add_up(loss))
        if self.cursor.step % _CHECKED_EVERY == 0 or self.cursor.step == 1:
            self.check_losses()
        if self.average is not None:
            self.average.step(self.model)

    def _loss(self, batch: Batch) -> Tensor:
        keep_casts = self.device.type == "cpu"  # each is used once, and a graph must make its own
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.bf16, cache_enabled=keep_casts
        ):
            return recovery_loss(self.model, self.teacher, batch, self.spec.loss_weights)

    def _gradients(self, batch: Batch, count: int) -> Tensor:
        """The loss of this process's share of `count` images, and its gradients."""
        self.optimiser.zero_grad(set_to_none=True)
        if not len(batch.labels):
            return torch.zeros((), device=self.device)
        loss = self._loss(batch) * (len(batch.labels) / count)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def check_losses(self) -> None:
        """Raises Diverged where a loss since the last evaluation is not a number."""
        before = self.epochs[-1].step if self.epochs else 0
        losses, steps = self.cursor.read_losses(), self.feed.steps_per_epoch
        require_losses(losses, before or 0, steps, self.best)

    def evaluate(self) -> None:
        """Evaluates the model, or its moving average, on the sources; keeps the best weights."""
        self.check_losses()
        losses = self.cursor.read_losses()
        own = None
        if isinstance(self.average, averaging.Ema):
            own = weights_of(self.model)
            self.model.load_state_dict(self.average.average)
        score = self._score(self.validation)
        require_validation(score.loss, self.cursor.step, self.best)
        epoch = Epoch(
            loss=sum(losses) / len(losses),
            source_val=score.accuracy,
            source_val_loss=score.loss,
            step=self.cursor.step,
            oracle=self._oracle(),
        )
        self.epochs.append(epoch)
        if not self.best or epoch.selected_by > self.epochs[self.chosen].selected_by:
            self.chosen, self.best = len(self.epochs) - 1, weights_of(self.model)
        if own is not None:
            self.model.load_state_dict(own)
        if isinstance(self.average, Swad):
            self.average.evaluated(score.loss)
        self.cursor.losses.clear()
        if self.cursor.is_slow():  # evaluations are so far apart that one waits for them
            self.progress.line(f"step {self.cursor.step}/{self.steps_in_all}: {epoch.describe()}")

    def _score(self, pixels: Pixels) -> Score:
        return evaluate_domains(self.model, pixels, self.task.preprocessing, self.processes)

    def _oracle(self) -> float | None:
        if self.task.oracle is None:
            return None
        found = self._score(Pixels(images=self.task.oracle, device=self.device)).accuracy
        return sum(found.values()) / len(found)

    def finish(self) -> tuple[Weights, TrainingRecord]:
        """The weights that are kept, and the record."""
        if self.plain_attention:
            set_fused_attention(self.model, True)
        averaged = source_val = None
        if isinstance(self.average, Swad):
            weights, *ends = self.average.finish()
            averaged = (ends[0], ends[1])
            self.model.load_state_dict(weights)
            score = self._score(self.validation)
            require_validation(score.loss, self.cursor.step, self.best)
            self.best, source_val = weights, score.accuracy
        record = TrainingRecord(
            epochs=tuple(self.epochs),
            chosen=self.chosen,
            averaged=averaged,
            source_val=source_val,
            device=self.device.type,
            precision="bf16" if self.bf16 else "fp32",
            processes=self.processes.count,
        )
        return self.best, record
