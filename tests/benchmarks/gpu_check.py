"""All that needs a GPU, in one go, on any machine that has one: `make gpu-check`.

    python -m tests.benchmarks.gpu_check DATA WEIGHTS.safetensors OUT [MINUTES]

DATA is a folder `domain/class/image` whose last domain is held out; WEIGHTS are those of MODEL
(or "random"). In this order: the tests marked `gpu` and those of pruning; ONNX Runtime on CUDA,
dense against pruned in every precision, batch by batch, with the A/A control; PyTorch, eager and
compiled; the speed of a training beside the plain loop; fine-tuning at 224 px; a Base model cut by
both engines. Each part goes on where it stopped, and none begins after MINUTES. Records go to
OUT/records.jsonl, those of the Base model beside it, what failed to OUT/failed.txt.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from dgprune.cli import invoke
from dgprune.data import open_data
from dgprune.errors import DgpruneError
from tests.benchmarks.base_speed import measure_on_gpu
from tests.benchmarks.training_speed import measure

MODEL, PIXELS, BASE = "vit_tiny_patch16_224", "224", "vit_base_patch16_224"
BATCHES = "1,8,32,128"
PRECISIONS = ("fp32", "fp16", "bf16", "int8")
Part = tuple[str, Callable[[], object]]


def parts(data: str, weights: str, out: Path) -> Iterator[Part]:
    """Name and work of each part, the most wanted first."""
    target = open_data(data).domains[-1]
    store, records = str(out / "store"), ("--records", str(out / "records.jsonl"))
    where = ("--data", data, "--target", target, "--out", store)

    def tests() -> None:
        for what in (("-m", "gpu", "tests"), ("tests/pruning",)):  # which trains on the GPU here
            subprocess.run([sys.executable, "-m", "pytest", "-q", *what], check=True)

    yield "the tests that need a GPU", tests
    # Weights do not matter for time: what is timed first need not wait for training.
    start = ("--weights", weights, "--image-size", PIXELS, "--criterion", "l2")
    dense = invoke(["prune", MODEL, *where, *start, "--ratio", "0"]).path
    pruned = invoke(["prune", str(dense), *where, "--criterion", "l2", "--ratio", "0.5"]).path

    def timed(candidate: Path, baseline: Path, runtime: str, *more: str) -> Callable[[], object]:
        on = ("--runtime", runtime, "--provider", "cuda", "--batch", BATCHES, *more, *records)
        arms = (str(candidate), "--baseline", str(baseline), "--data", data)
        return lambda: invoke(["bench", *arms, *on])

    for precision in PRECISIONS:
        yield f"onnxruntime cuda {precision}", _onnx(precision, dense, pruned, data, store, timed)
    for runtime in ("torch", "torch-compile"):
        yield f"{runtime}: A/A", timed(dense, dense, runtime)
        yield f"{runtime}: dense against pruned", timed(pruned, dense, runtime)

    def trained() -> None:
        given = ("--weights", weights, "--image-size", PIXELS, "--epochs", "10")
        tuned = str(invoke(["finetune", MODEL, *where, *given]).path)
        invoke(["evaluate", tuned, "--data", data, "--target", target, *records])
        cut = str(invoke(["prune", tuned, *where, "--macs", "0.44"]).path)
        again = ("--teacher", tuned, "--epochs", "10", "--lr", "5e-5", "--distill-weight", "0.9")
        healed = str(invoke(["finetune", cut, *where, *again]).path)
        invoke(["evaluate", healed, "--data", data, "--target", target, *records])

    def fast() -> None:
        if measure(Path(data)):
            raise DgpruneError("a bound of make bench-training is missed; its table says which")

    yield "speed of a training beside the plain loop", fast
    yield "fine-tuning at 224 px", trained
    yield f"{BASE} by both engines", lambda: measure_on_gpu(out, BASE)


def _onnx(
    precision: str,
    dense: Path,
    pruned: Path,
    data: str,
    store: str,
    timed: Callable[..., Callable[[], object]],
) -> Callable[[], object]:
    def run() -> None:
        where = ("--data", data, "--out", store, "--precision", precision)
        files = [invoke(["export", str(folder), *where]).path for folder in (dense, pruned)]
        timed(files[0], files[0], "onnxruntime")()  # the A/A control
        timed(files[1], files[0], "onnxruntime")()

    return run


def main(data: str, weights: str, out: Path, minutes: float) -> None:
    """Runs the parts until the time is up; a part that fails is written down and passed over."""
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA device here; run this on a machine with an NVIDIA GPU")
    out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * minutes
    for name, work in parts(data, weights, out):
        if time.monotonic() > end:
            print(f"no time left for: {name}", file=sys.stderr)
            continue
        print(f"== {name}, on {torch.cuda.get_device_name()}", file=sys.stderr)
        try:
            work()
        except Exception as error:  # what one part breaks on must not cost the others
            told = " ".join(f"{type(error).__name__}: {error}".split())
            print(f"failed: {told}", file=sys.stderr)
            with (out / "failed.txt").open("a") as file:
                file.write(f"{name}: {told}\n")


if __name__ == "__main__":
    folder, checkpoint, place, *limit = sys.argv[1:]
    main(folder, checkpoint, Path(place), float(limit[0]) if limit else 25.0)
