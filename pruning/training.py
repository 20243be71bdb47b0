"""Training and recovery: AdamW, cosine with warm-up, distillation, selection on the sources."""

import math
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dgprune.data import Images, Preprocessing
from dgprune.errors import MAX_SEED, DgpruneError, require_between
from dgprune.models import Transformer, Weights
from dgprune.progress import SILENT, Progress
from dgprune.schema import Json, encode
from pruning.augmentation import KINDS, augment
from pruning.distillation import LossWeights, Teacher, recovery_loss

_SLOW_EPOCH_S = 10.0  # slower epochs are told one by one


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSpec:
    """How to train.

    `warmup_epochs` of linear warm-up come before the cosine. What the three weights of the loss and
    the temperature mean stands in `pruning.distillation`.
    """

    epochs: int = 5
    learning_rate: float = 1e-4
    weight_decay: float = 0.05
    batch_size: int = 32
    warmup_epochs: float = 0.5
    label_smoothing: float = 0.1
    clip_norm: float = 1.0
    distill_weight: float = 0.5
    temperature: float = 3.0
    feature_weight: float = 0.0
    augmentation: str = "photo"
    seed: int = 0

    def __post_init__(self) -> None:
        require_between("--epochs", self.epochs, 1, 1e6)
        require_between("--batch-size", self.batch_size, 1, 1e6)
        require_between("--lr", self.learning_rate, 1e-12, 1e3)
        require_between("--weight-decay", self.weight_decay, 0, 1e3)
        require_between("--warmup-epochs", self.warmup_epochs, 0, 1e6)
        require_between("--label-smoothing", self.label_smoothing, 0, 1)
        require_between("--clip-norm", self.clip_norm, 1e-12, 1e12)
        require_between("--distill-weight", self.distill_weight, 0, 1)
        require_between("--temperature", self.temperature, 1e-3, 1e3)
        require_between("--feature-weight", self.feature_weight, 0, 1e3)
        require_between("--seed", self.seed, 0, MAX_SEED)
        if self.augmentation not in KINDS:
            raise DgpruneError(
                f"--augmentation {self.augmentation!r} is none of {', '.join(KINDS)}"
            )

    def asked(self) -> Json:
        """The spec as the lineage keeps it."""
        asked: Json = encode(self)
        if not self.feature_weight:
            del asked["feature_weight"]
        return asked

    @property
    def loss_weights(self) -> LossWeights:
        """The shares of labels, soft targets and features in the loss."""
        return LossWeights(
            label_smoothing=self.label_smoothing,
            distill=self.distill_weight,
            temperature=self.temperature,
            features=self.feature_weight,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One pass over the source images: mean loss, and validation accuracy of each source domain."""

    loss: float
    source_val: dict[str, float]

    @property
    def score(self) -> float:
        """What selection looks at: the mean over source domains."""
        return sum(self.source_val.values()) / len(self.source_val)

    def describe(self) -> str:
        """Loss and score, for a person."""
        return f"loss {self.loss:.3f}, source validation {100 * self.score:.1f} %"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecord:
    """Every epoch, and the one whose weights were kept."""

    epochs: tuple[Epoch, ...]
    chosen: int


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is learnt: source images only, and the dense teacher where there is one."""

    train: Images
    validation: Images
    preprocessing: Preprocessing
    teacher: Transformer | None = None


def pick_device() -> torch.device:
    """The GPU where there is one, the CPU otherwise."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def train(
    model: Transformer, task: Task, spec: TrainSpec, progress: Progress = SILENT
) -> tuple[Weights, TrainingRecord]:
    """Weights of the best epoch by mean source-validation accuracy, and the record of all epochs.

    `model` is trained in place. Raises DgpruneError where the loss stops being a number.
    """
    device = pick_device()
    torch.manual_seed(spec.seed)
    generator = torch.Generator().manual_seed(spec.seed)
    model.to(device)
    teacher = Teacher(task.teacher, model.embed_dim).to(device) if task.teacher else None
    projection = list(teacher.projection.parameters()) if teacher else []
    optimiser = torch.optim.AdamW(
        [*model.parameters(), *projection], lr=spec.learning_rate, weight_decay=spec.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, _cosine(spec, len(task.train)))
    epochs: list[Epoch] = []
    best: Weights = {}
    chosen = 0
    for index in progress.track(range(spec.epochs), spec.epochs, "training"):
        start = time.monotonic()
        loss = _one_epoch(model, teacher, task, spec, optimiser, schedule, generator, index)
        epochs.append(Epoch(loss=loss, source_val=domain_accuracy(model, task)))
        if time.monotonic() - start > _SLOW_EPOCH_S:
            progress.line(f"epoch {index + 1}/{spec.epochs}: {epochs[index].describe()}")
        if not best or epochs[index].score > epochs[chosen].score:
            chosen = index
            best = {key: value.detach().clone() for key, value in model.state_dict().items()}
    return best, TrainingRecord(epochs=tuple(epochs), chosen=chosen)


def _cosine(spec: TrainSpec, images: int) -> "Schedule":
    steps = math.ceil(images / spec.batch_size)
    return Schedule(warmup=max(1.0, spec.warmup_epochs * steps), total=spec.epochs * steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Share of the learning rate: linear up over `warmup` steps, then half a cosine to 0."""

    warmup: float
    total: int

    def __call__(self, step: int) -> float:
        """The share at `step`, counted from 0."""
        if step < self.warmup:
            return (step + 1) / (self.warmup + 1)
        done = (step - self.warmup) / max(1.0, self.total - self.warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def _one_epoch(
    model: Transformer,
    teacher: Teacher | None,
    task: Task,
    spec: TrainSpec,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    generator: torch.Generator,
    epoch: int,
) -> float:
    model.train()
    losses: list[float] = []
    for pixels, labels in _shuffled(
        task.train, spec.batch_size, generator, next(model.parameters()).device
    ):
        views = normalise(augment(pixels, spec.augmentation, generator), task.preprocessing)
        loss = recovery_loss(model, teacher, views, labels, spec.loss_weights)
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise DgpruneError(
                f"the loss became {losses[-1]} in epoch {epoch + 1}, step {len(losses)}; lower --lr"
            )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), spec.clip_norm)
        optimiser.step()
        schedule.step()
    return sum(losses) / len(losses)


def _shuffled(
    images: Images, batch_size: int, generator: torch.Generator, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches in random order: pixels [b, 3, px, px] of 0 to 1, and labels [b]."""
    order = torch.randperm(len(images), generator=generator).numpy()
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        pixels = (
            torch.from_numpy(images.pixels[chosen]).to(device).permute(0, 3, 1, 2).float() / 255
        )
        yield pixels, torch.from_numpy(images.labels[chosen]).to(device)


def normalise(pixels: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Model input from pixels [b, 3, px, px] of 0 to 1."""
    mean = pixels.new_tensor(preprocessing.mean).view(1, 3, 1, 1)
    std = pixels.new_tensor(preprocessing.std).view(1, 3, 1, 1)
    return (pixels - mean) / std


@torch.no_grad()
def domain_accuracy(model: Transformer, task: Task, batch_size: int = 128) -> dict[str, float]:
    """Accuracy on the validation images of each source domain, which are not augmented."""
    model.eval()
    device = next(model.parameters()).device
    seen: dict[str, list[bool]] = defaultdict(list)
    for start in range(0, len(task.validation), batch_size):
        stop = start + batch_size
        pixels = torch.from_numpy(task.validation.pixels[start:stop]).to(device)
        logits = model(normalise(pixels.permute(0, 3, 1, 2).float() / 255, task.preprocessing))
        right = logits.argmax(-1).cpu().numpy() == task.validation.labels[start:stop]
        for sample, correct in zip(task.validation.samples[start:stop], right, strict=True):
            seen[sample.domain].append(bool(correct))
    return {domain: sum(hits) / len(hits) for domain, hits in sorted(seen.items())}
