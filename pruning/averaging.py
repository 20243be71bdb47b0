"""Averages of the weights along a training: exponential, or dense over the valley of the loss."""

from dataclasses import dataclass, field

from torch import Tensor

from dgprune.models import Transformer, Weights

CONVERGED_AFTER, TOLERATED, TOLERANCE = 3, 6, 1.3  # N_s, N_e and r of SWAD, for all but VLCS


def weights_of(model: Transformer) -> Weights:
    """A copy of the weights as they are now."""
    return {key: value.detach().clone() for key, value in model.state_dict().items()}


def _move(average: Weights, model: Transformer, share: float) -> None:
    """Moves `average` by `share` of its distance to the model's weights."""
    for key, value in model.state_dict().items():
        if value.is_floating_point():
            average[key].lerp_(value.detach(), share)
        else:
            average[key].copy_(value)


@dataclass(kw_only=True)
class Ema:
    """Exponential moving average of the weights after every step.

    In the first steps it forgets faster, min(decay, (1 + n) / (10 + n)), so that a short training
    is not held back by its first weights.
    """

    decay: float
    average: Weights
    steps: int = 0

    def step(self, model: Transformer) -> None:
        """Takes the weights after a step in."""
        self.steps += 1
        _move(self.average, model, 1 - min(self.decay, (1 + self.steps) / (10 + self.steps)))


@dataclass(kw_only=True)
class Stretch:
    """The mean of the weights of `steps` between two evaluations, and the loss at their end."""

    loss: float
    steps: int
    average: Weights


@dataclass(kw_only=True)
class Swad:
    """Stochastic weight averaging, densely, over the valley of the validation loss.

    Algorithm 1 of Cha et al. 2021. The valley begins at the first evaluation whose loss stays the
    least of `CONVERGED_AFTER` in a row, and ends before the first `TOLERATED` in a row that are all
    above `TOLERANCE` times the mean loss of those; the first one alone is in it for certain. Only
    stretches that may still be needed are kept.
    """

    running: Weights
    steps: int = 0
    evaluations: int = 0
    waiting: list[Stretch] = field(default_factory=list)
    first: int | None = None
    last: int | None = None
    threshold: float = 0.0
    total: Weights | None = None
    total_steps: int = 0
    closed: bool = False

    def step(self, model: Transformer) -> None:
        """Takes the weights after a step in."""
        self.steps += 1
        _move(self.running, model, 1 / self.steps)

    def evaluated(self, loss: float) -> None:
        """Ends a stretch with the mean validation loss of the model."""
        self.waiting.append(
            Stretch(
                loss=loss,
                steps=self.steps,
                average={key: value.clone() for key, value in self.running.items()},
            )
        )
        self.steps = 0
        if not self.closed:
            self._open() if self.first is None else self._follow()
        self.evaluations += 1

    def _open(self) -> None:
        """Begins the valley where the oldest of the waiting stretches has the least loss."""
        if len(self.waiting) < CONVERGED_AFTER:
            return
        losses = [stretch.loss for stretch in self.waiting]
        if losses[0] == min(losses):
            self.first = self.evaluations - CONVERGED_AFTER + 1
            self.threshold = TOLERANCE * sum(losses) / len(losses)
            self._take_oldest()  # the others may be beyond the end already
        else:
            self.waiting.pop(0)

    def _follow(self) -> None:
        """Ends the valley, or takes in what can no longer be beyond its end."""
        if len(self.waiting) == TOLERATED:
            if min(stretch.loss for stretch in self.waiting) > self.threshold:
                self.closed = True
                self.waiting.clear()
            else:
                self._take_oldest()

    def _take_oldest(self) -> None:
        assert self.first is not None
        stretch = self.waiting.pop(0)
        self.last = self.first if self.last is None else self.last + 1
        self.total_steps += stretch.steps
        if self.total is None:
            self.total = stretch.average
            return
        for key, value in stretch.average.items():
            if value.is_floating_point():
                self.total[key].lerp_(value, stretch.steps / self.total_steps)
            else:
                self.total[key].copy_(value)

    def finish(self) -> tuple[Weights, int, int]:
        """The average, and the first and last evaluation in it, counted from 0.

        A training that ends before the valley does is averaged up to its end; one whose loss fell
        to the end has its last evaluations averaged.
        """
        if self.first is None:
            losses = [stretch.loss for stretch in self.waiting]
            least = losses.index(min(losses))
            self.first = self.evaluations - len(losses) + least
            del self.waiting[:least]
        while self.waiting and not self.closed:
            self._take_oldest()
        assert self.total is not None and self.last is not None
        return self.total, self.first, self.last


Average = Ema | Swad


def start(kind: str, decay: float, model: Transformer) -> Average | None:
    """The average that a training under `kind` keeps."""
    if kind == "ema":
        return Ema(decay=decay, average=weights_of(model))
    return Swad(running=weights_of(model)) if kind == "swad" else None


def tensors_of(average: Average | None) -> dict[str, Tensor]:
    """Every tensor of an average, under names that `restore` knows."""
    if average is None:
        return {}
    if isinstance(average, Ema):
        return {f"average.{key}": value for key, value in average.average.items()}
    found = {f"running.{key}": value for key, value in average.running.items()}
    found |= {f"total.{key}": value for key, value in (average.total or {}).items()}
    for n, stretch in enumerate(average.waiting):
        found |= {f"waiting{n}.{key}": value for key, value in stretch.average.items()}
    return found


def numbers_of(average: Average | None) -> dict[str, object]:
    """Everything of an average that is no tensor."""
    if average is None:
        return {}
    if isinstance(average, Ema):
        return {"steps": average.steps}
    names = ("steps", "total_steps", "evaluations", "first", "last", "threshold", "closed")
    waiting = [[stretch.loss, stretch.steps] for stretch in average.waiting]
    return {"waiting": waiting, **{name: getattr(average, name) for name in names}}


def restore(
    average: Average | None, tensors: dict[str, Tensor], numbers: dict[str, object]
) -> None:
    """Puts an average back as it was when `tensors_of` and `numbers_of` were taken."""

    def part(name: str) -> Weights:
        prefix = f"{name}."
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    if average is None:
        return
    if isinstance(average, Ema):
        average.average = part("average")
    else:
        waiting = numbers.pop("waiting")
        assert isinstance(waiting, list)
        average.running, average.total = part("running"), part("total") or None
        average.waiting = [
            Stretch(loss=loss, steps=steps, average=part(f"waiting{n}"))
            for n, (loss, steps) in enumerate(waiting)
        ]
    for name, value in numbers.items():
        setattr(average, name, value)
