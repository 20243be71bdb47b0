"""Speed and memory of scoring, surgery and loading, as ratios in one run (`make bench-pruning`).

One thread, the same images for both sides of a ratio, the two sides in alternation. Prints a table
and exits 1 where a bound is missed. Nothing else should run meanwhile.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch_pruning as tp
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from dgprune.checkpoint import WEIGHTS, load_model, open_checkpoint
from dgprune.models import Transformer, create, structure_of
from dgprune.source import SourceSpec
from pruning.budgets import Budget, Limits
from pruning.criteria import score
from pruning.gates import gate_fisher
from pruning.groups import trace_groups
from pruning.per_sample import gradient_moments
from pruning.planning import make_plan
from pruning.prune_checkpoint import prune
from pruning.spec import PruneSpec
from pruning.surgery import apply_plan

TINY, BASE = "vit_tiny_patch16_224", "vit_base_patch16_224"
IMAGES, PIXELS, BATCH = 64, 112, 16
Step = Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the table: what was compared, its value, and the bound it has to keep."""

    what: str
    value: float
    bound: float
    at_most: bool

    @property
    def holds(self) -> bool:
        """Whether the value is on the right side of the bound."""
        return self.value <= self.bound if self.at_most else self.value >= self.bound


def tiny() -> tuple[Transformer, Tensor, Tensor]:
    """ViT-Tiny of random weights, images [64, 3, 112, 112] and labels [64]."""
    torch.manual_seed(0)
    model = create(TINY, num_classes=7, image_size=PIXELS)
    return model, torch.randn(IMAGES, 3, PIXELS, PIXELS), torch.randint(0, 7, (IMAGES,))


def hessian(model: Transformer, inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """This project's moments of per-sample gradients."""
    return gradient_moments(model, inputs, labels, second_order=True)


def loop(model: Transformer, inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """The same by one forward and one backward pass a sample."""
    total = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for image, label in zip(inputs, labels, strict=True):
        model.zero_grad()
        functional.cross_entropy(model(image[None]), label[None]).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None
            total[name].addcmul_(parameter.grad, parameter.grad)
    return {name: value / len(labels) for name, value in total.items()}


def documented(model: Transformer, inputs: Tensor, labels: Tensor) -> None:
    """torch-pruning's documented way: one forward pass, then a backward pass a sample."""
    importance = tp.importance.GroupHessianImportance()
    importance.zero_grad()
    losses = functional.cross_entropy(model(inputs), labels, reduction="none")
    for loss in losses:
        model.zero_grad()
        loss.backward(retain_graph=True)
        importance.accumulate_grad(model)


def training_step(model: Transformer, inputs: Tensor, labels: Tensor) -> None:
    """Forward, backward and AdamW on one batch."""
    optimiser = torch.optim.AdamW(model.parameters())
    functional.cross_entropy(model(inputs[:BATCH]), labels[:BATCH]).backward()
    optimiser.step()


def forward_backward(model: Transformer, inputs: Tensor, labels: Tensor) -> None:
    """One plain pass over all images in batches of 32, as the gate scores take."""
    for start in range(0, len(labels), 32):
        model.zero_grad()
        logits = model(inputs[start : start + 32])
        functional.cross_entropy(logits, labels[start : start + 32]).backward()


def seconds(step: Step) -> float:
    """Time of one call."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def ratio(numerator: Step, denominator: Step, rounds: int = 5) -> float:
    """Median over rounds of the ratio of two times, taken in alternation after one warm-up each."""
    numerator(), denominator()
    found = []
    for number in range(rounds):
        order = (numerator, denominator) if number % 2 else (denominator, numerator)
        times = {step: seconds(step) for step in order}
        found.append(times[numerator] / times[denominator])
    return statistics.median(found)


def scoring() -> list[Finding]:
    """Hessian and gate scores on ViT-Tiny."""
    model, inputs, labels = tiny()
    parts = (model, inputs, labels)
    found, expected = hessian(*parts), loop(*parts)
    error = max(float((found[k] - expected[k]).norm() / expected[k].norm()) for k in found)
    once = seconds(lambda: documented(*parts)) / seconds(lambda: hessian(*parts))
    return [
        Finding(
            what="Hessian against the loop, relative error", value=error, bound=1e-4, at_most=True
        ),
        Finding(
            what="torch-pruning's documented loop / Hessian, time",
            value=once,
            bound=20,
            at_most=False,
        ),
        Finding(
            what="loop of batch size 1 / Hessian, time",
            value=ratio(lambda: loop(*parts), lambda: hessian(*parts)),
            bound=1.3,
            at_most=False,
        ),
        Finding(
            what="gate scores / one plain forward and backward, time",
            value=ratio(lambda: gate_fisher(*parts), lambda: forward_backward(*parts)),
            bound=1.2,
            at_most=True,
        ),
        Finding(
            what=f"Hessian / training step at batch {BATCH}, peak memory",
            value=peak_mb("hessian") / peak_mb("training_step"),
            bound=2,
            at_most=True,
        ),
    ]


def cut_base(model: Transformer) -> Transformer:
    """The model at half of its units by L2."""
    scores = score(trace_groups(model), "l2", None, seed=0)
    budget = Budget(kind="ratio", value=0.5)
    plan = make_plan(scores, structure_of(model, BASE), "global", budget, Limits())
    return apply_plan(model, plan, BASE)


def surgery() -> list[Finding]:
    """Base-size model: pruned by L2, and loaded again."""
    model = create(BASE, num_classes=7, image_size=None)
    weights_mb = sum(p.numel() * p.element_size() for p in model.parameters()) / 1e6
    return [
        Finding(
            what="Base: L2 scoring, planning and surgery, seconds",
            value=seconds(lambda: cut_base(model)),
            bound=10,
            at_most=True,
        ),
        Finding(
            what="Base: the same, peak memory / weights of the model",
            # The least of five: what the allocator keeps beside it differs from run to run.
            value=min(peak_mb("base") for _ in range(5)) / weights_mb,
            bound=1.1,
            at_most=True,
        ),
    ]


def loading() -> list[Finding]:
    """A pruned Base model from its folder, against its bare file and a dense model from timm."""
    with tempfile.TemporaryDirectory() as folder:
        source = SourceSpec(model=BASE, weights="random", data="rotated-digits", target="rot75")
        path = prune(
            source, PruneSpec(criterion="l2", ranking="global", refit=False), Path(folder) / "store"
        ).path

        def plain() -> None:
            load_file(path / WEIGHTS)
            create(BASE, num_classes=10, image_size=None)

        value = ratio(lambda: load_model(open_checkpoint(path)), plain)
    return [
        Finding(
            what="Base: rebuild and load / read the file and build the dense model, time",
            value=value,
            bound=2,
            at_most=True,
        )
    ]


def peak_mb(what: str) -> float:
    """Memory that `what` needs beyond its model and images, in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.pruning_speed", what]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(json.loads(out)["peak_mb"])


def measure_memory(what: str) -> None:
    """The child of `peak_mb`: prints how far resident memory rose over what it was before."""
    if what == "base":
        model = create(BASE, num_classes=7, image_size=None)
        with torch.no_grad():
            model(torch.zeros(1, 3, 224, 224))  # loads what the first call of torch loads
        step: Step = lambda: cut_base(model)  # noqa: E731
    else:
        parts = tiny()
        step = {"hessian": lambda: hessian(*parts), "training_step": lambda: training_step(*parts)}[
            what
        ]
    before = _status_kb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    step()
    print(json.dumps({"peak_mb": (_status_kb("VmHWM") - before) * 1024 / 1e6}))


def _status_kb(name: str) -> int:
    """A value of this process's memory, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(name + ":"))
    return int(line.split()[1])


def main() -> int:
    """The table, and 0 where every bound holds."""
    findings = [*scoring(), *surgery(), *loading()]
    table = Table("what", "measured", "bound", "holds")
    for one in findings:
        sign = "<=" if one.at_most else ">="
        table.add_row(
            one.what, f"{one.value:.3g}", f"{sign} {one.bound:g}", "yes" if one.holds else "NO"
        )
    Console().print(table)
    print(json.dumps({one.what: one.value for one in findings}))
    return 0 if all(one.holds for one in findings) else 1


if __name__ == "__main__":
    torch.set_num_threads(1)
    if len(sys.argv) > 1:
        measure_memory(sys.argv[1])
    else:
        sys.exit(main())
