"""Batches of source images, drawn by seed, made and augmented on the device that trains."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dgprune.data import Images, Preprocessing
from pruning.augmentation import augment
from pruning.device import fits, to_device
from pruning.invariance import Batch, mix
from pruning.processes import Processes
from pruning.training_spec import TrainSpec

_SLOW_S = 10.0


@dataclass(kw_only=True)
class Pixels:
    """Images by number, as floats of 0 to 1 on a device.

    A GPU holds all of them where they fit into half of its free memory; otherwise, and on a CPU,
    each batch is read from the decoded cache.
    """

    images: Images
    device: torch.device
    resident: Tensor | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if fits(self.images.size_bytes, self.device):
            self.resident = torch.from_numpy(self.images.pixels).to(self.device)

    def take(self, chosen: Tensor) -> Tensor:
        """Pixels [b, 3, px, px] of the images `chosen` [b]."""
        if self.resident is not None:
            found = self.resident[to_device(chosen, self.device)]
        else:
            found = torch.from_numpy(self.images.take(chosen.numpy())).to(self.device)
        return found.permute(0, 3, 1, 2).float() / 255


@dataclass(kw_only=True)
class Cursor:
    """How far a training is: steps done, the order of the epoch, losses since an evaluation."""

    step: int = 0
    order: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    losses: list[Tensor] = field(default_factory=list)
    told: float = field(default_factory=time.monotonic)

    def read_losses(self) -> list[float]:
        """The losses as numbers; a GPU is asked once for all of them."""
        found: list[float] = torch.stack(self.losses).tolist() if self.losses else []
        return found

    def is_slow(self) -> bool:
        """Whether the last evaluation is so long ago that a person would wonder."""
        now = time.monotonic()
        slow, self.told = now - self.told > _SLOW_S, now
        return slow


def domain_numbers(images: Images) -> Tensor:
    """The index [n] of each image's domain among the sorted domains of `images`."""
    names = {name: i for i, name in enumerate(sorted({s.domain for s in images.samples}))}
    return torch.tensor([names[sample.domain] for sample in images.samples])


def draw_order(domains: Tensor, *, balanced: bool, generator: torch.Generator) -> Tensor:
    """The order [n] in which an epoch sees its images, `domains` [n] being their domains.

    Balanced, every run of as many images as there are domains has one of each: a small domain comes
    round several times, and an epoch stays as long as it was.
    """
    n = len(domains)
    if not balanced:
        return torch.randperm(n, generator=generator)
    piles = []
    for domain in range(int(domains.max()) + 1):
        members = (domains == domain).nonzero().flatten()
        rounds = -(-n // len(members))
        shuffled = [
            members[torch.randperm(len(members), generator=generator)] for _ in range(rounds)
        ]
        piles.append(torch.cat(shuffled)[:n])
    return torch.stack(piles, dim=1).flatten()[:n]


def normalise(pixels: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Model input from pixels [b, 3, px, px] of 0 to 1."""
    mean = pixels.new_tensor(preprocessing.mean).view(1, 3, 1, 1)
    std = pixels.new_tensor(preprocessing.std).view(1, 3, 1, 1)
    return (pixels - mean) / std


@dataclass(kw_only=True)
class Feed:
    """The batches of a training, one after the other; each process draws its share of them."""

    images: Images
    preprocessing: Preprocessing
    spec: TrainSpec
    device: torch.device
    processes: Processes

    def __post_init__(self) -> None:
        self.generator = torch.Generator().manual_seed(self.spec.seed)
        self.pixels = Pixels(images=self.images, device=self.device)
        self.domains = domain_numbers(self.images)
        self.labels = torch.from_numpy(self.images.labels)
        self.steps_per_epoch = math.ceil(len(self.images) / self.spec.batch_size)

    def batch(self, cursor: Cursor) -> tuple[Batch, int]:
        """The views of this process, and how many images all processes see in this step."""
        place, size = cursor.step % self.steps_per_epoch, self.spec.batch_size
        if place == 0:
            cursor.order = draw_order(
                self.domains, balanced=self.spec.domain_balanced, generator=self.generator
            )
        whole = cursor.order[place * size : (place + 1) * size]
        chosen = self.processes.share(whole)
        generator = self._generator_of_views(cursor.step)
        views = augment(self.pixels.take(chosen), self.spec.augmentation, generator)
        batch = Batch(
            views=normalise(views, self.preprocessing),
            labels=to_device(self.labels[chosen], self.device),
            domains=to_device(self.domains[chosen], self.device),
        )
        return (mix(batch, self.spec.mixup, generator) if self.spec.mixup else batch), len(whole)

    def plain(self, count: int) -> Iterator[Tensor]:
        """Views [b, 3, px, px] of `count` images as they are, the same ones in every process."""
        generator = torch.Generator().manual_seed(self.spec.seed)
        chosen = torch.randperm(len(self.images), generator=generator)[:count]
        for part in chosen.split(self.spec.batch_size):  # type: ignore[no-untyped-call]
            yield normalise(self.pixels.take(part), self.preprocessing)

    def _generator_of_views(self, step: int) -> torch.Generator:
        """The one generator, or in several processes one that differs by process and step."""
        if self.processes.count == 1:
            return self.generator
        number = step * self.processes.count + self.processes.rank
        return torch.Generator().manual_seed((self.spec.seed << 31) + number)
