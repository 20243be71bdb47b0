"""Images a second of a training, as ratios in one run: `make bench-training DATA=folder`.

Three loops take the same steps (ViT-Tiny, AdamW, same precision, same batch), in alternation: this
project's; the same on batches made beforehand, which no loop can beat; and the plain one of
ImageFolder, DataLoader with two workers and torchvision's transforms. On a GPU images have 224 px,
on a CPU 112. Prints a table and exits 1 where a bound is missed. Nothing else should run meanwhile.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dgprune.torchvision_shim  # noqa: F401 - torchvision beside a CPU torch

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional
from torch.utils.data import ConcatDataset, DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from dgprune.data import Preprocessing, Purpose, leave_one_out, load_images, open_data
from dgprune.data.images import Loading
from dgprune.models import Transformer, create
from pruning.batches import Cursor
from pruning.device import pick_device
from pruning.invariance import Batch
from pruning.processes import ALONE
from pruning.training import Task, Training
from pruning.training_spec import TrainSpec

MODEL, WORKERS, STEPS, ROUNDS, KEPT = "vit_tiny_patch16_224", 2, 6, 12, 8
LEAST_OF_MEMORY, LEAST_ON_GPU = 0.95, 3.0
Step = Callable[[], object]


def made_up(root: Path) -> Path:
    """A folder domain/class/image of smooth noise, as large and as many bytes as photographs."""
    rng = np.random.default_rng(0)
    for domain in range(3):
        for label in range(7):
            folder = root / f"domain{domain}" / f"class{label}"
            folder.mkdir(parents=True)
            for number in range(24):
                coarse = Image.fromarray(rng.integers(0, 255, (28, 28, 3), dtype=np.uint8))
                coarse.resize((227, 227), Image.Resampling.BICUBIC).save(folder / f"{number}.jpg")
    return root


@dataclass(kw_only=True)
class Ready:
    """Batches that are there already, in the place of a training's feed."""

    batches: list[tuple[Batch, int]]
    steps_per_epoch: int

    def batch(self, cursor: Cursor) -> tuple[Batch, int]:
        """The next of them."""
        return self.batches[cursor.step % len(self.batches)]


def model(px: int) -> Transformer:
    """ViT-Tiny of random weights."""
    torch.manual_seed(0)
    return create(MODEL, num_classes=7, image_size=px)


def trainings(data: Path, target: str, px: int) -> tuple[Training, Training]:
    """This project's loop, and the same on batches in memory."""
    opened = open_data(str(data))
    split = leave_one_out(opened, target)
    preprocessing = Preprocessing(
        image_size=px, mean=(0.5,) * 3, std=(0.5,) * 3, interpolation="bicubic"
    )
    train, validation = (
        load_images(opened, samples, preprocessing, purpose=purpose, loading=Loading(split=split))
        for samples, purpose in ((split.train, Purpose.TRAIN), (split.validation, Purpose.SELECT))
    )
    task = Task(train=train, validation=validation, preprocessing=preprocessing)
    ours, memory = (
        Training(
            model=model(px),
            task=task,
            spec=TrainSpec(epochs=10**6),
            progress=None,  # type: ignore[arg-type]  # no evaluation is reached
            processes=ALONE,
        )
        for _ in range(2)
    )
    ready = [memory.feed.batch(Cursor(step=0)) for _ in range(KEPT)]
    memory.feed = Ready(batches=ready, steps_per_epoch=10**9)  # type: ignore[assignment]
    ours.cursor.losses = memory.cursor.losses = Forgetful()
    return ours, memory


class Forgetful(list[Tensor]):
    """Losses that are not kept: no evaluation comes to clear them."""

    def append(self, loss: Tensor) -> None:
        """Reads the loss where the loop would have read it, and forgets it."""
        self[:] = [loss]


def plain_loader(data: Path, target: str, px: int) -> DataLoader[tuple[Tensor, Tensor]]:
    """The loader of every tutorial."""
    views = transforms.Compose(
        [
            transforms.RandomResizedCrop(px, scale=(0.7, 1.0)),
            transforms.RandomHorizontalFlip(),
            transforms.ColorJitter(0.3, 0.3, 0.3, 0.3),
            transforms.RandomGrayscale(),
            transforms.ToTensor(),
            transforms.Normalize((0.5,) * 3, (0.5,) * 3),
        ]
    )
    domains = [path for path in sorted(data.iterdir()) if path.is_dir() and path.name != target]
    images: ConcatDataset[tuple[Tensor, Tensor]] = ConcatDataset(
        [ImageFolder(str(domain), views) for domain in domains]
    )
    return DataLoader(images, 32, shuffle=True, num_workers=WORKERS, drop_last=True)


def plain(loader: DataLoader[tuple[Tensor, Tensor]], px: int) -> Step:
    """A step of the plain loop, on the same device and in the same precision."""
    device = pick_device()
    student = model(px).to(device).train()
    optimiser = torch.optim.AdamW(student.parameters(), lr=1e-4, weight_decay=0.05)
    batches = endless(loader)

    def step() -> None:
        views, labels = (part.to(device, non_blocking=True) for part in next(batches))
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = functional.cross_entropy(student(views), labels, label_smoothing=0.1)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimiser.step()
        loss.item()

    return step


def endless(loader: DataLoader[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
    """Epoch after epoch."""
    while True:
        yield from loader


def seconds(step: Step) -> float:
    """Seconds of one of `STEPS` steps."""
    start = time.perf_counter()
    for _ in range(STEPS):
        step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / STEPS


def decoding_s(loader: DataLoader[tuple[Tensor, Tensor]]) -> float:
    """Seconds of one core for reading, decoding and augmenting a batch in the plain way."""
    start = time.perf_counter()
    for index in range(0, 32 * STEPS):
        loader.dataset[(index * 37) % len(loader.dataset)]  # type: ignore[arg-type]
    return (time.perf_counter() - start) / STEPS


def measure(data: Path) -> int:
    """Prints the table; 1 where a bound is missed."""
    on_gpu = torch.cuda.is_available()
    px = 224 if on_gpu else 112
    target = open_data(str(data)).domains[-1]
    ours, memory = trainings(data, target, px)
    loader = plain_loader(data, target, px)
    arms: dict[str, Step] = {
        "ours": ours.one_step,
        "memory": memory.one_step,
        "plain": plain(loader, px),
    }
    taken: dict[str, list[float]] = {name: [] for name in arms}
    for order in range(ROUNDS + 1):
        for name in list(arms) if order % 2 else list(arms)[::-1]:
            taken[name].append(seconds(arms[name]))
    ratio = {  # the first round warms up
        name: statistics.median(
            other / own for other, own in zip(taken[name][1:], taken["ours"][1:], strict=True)
        )
        for name in ("memory", "plain")
    }
    step_s = statistics.median(taken["ours"][1:])
    decoding = decoding_s(loader) / torch.get_num_threads() / step_s
    least = LEAST_ON_GPU if on_gpu else 1 + decoding
    table = Table("loop", "speed of ours over it", "bound", "", title=f"{MODEL}, {px} px")
    rows = (
        ("batches in memory", ratio["memory"], 0.0 if on_gpu else LEAST_OF_MEMORY),
        (f"ImageFolder, {WORKERS} workers", ratio["plain"], least),
    )
    for what, value, bound in rows:
        verdict = "holds" if value >= bound else "MISSED"
        asked = (f"{bound:.3f}", verdict) if bound else ("none", "")  # a small model outruns views
        table.add_row(what, f"{value:.3f}", *asked)
    Console().print(table)
    print(
        f"{32 / step_s:.0f} images a second on {torch.get_num_threads()} threads; decoding a batch "
        f"costs all of them {decoding:.2f} of a step"
    )
    return int(any(value < bound for _, value, bound in rows))


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1]:
        sys.exit(measure(Path(sys.argv[1])))
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(measure(made_up(Path(folder) / "images")))
