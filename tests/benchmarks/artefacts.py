"""The files that `make bench` times, made by the commands of whichever code is imported.

    PYTHONPATH=TREE python -P tests/benchmarks/artefacts.py TREE OUT MODEL PX RUNTIME...

A dense model and a pruned one, as a checkpoint (torch), ONNX and OpenVINO; the last line is JSON,
runtime -> arm -> folder. Weights are random and untrained, since no value of theirs moves a
latency. Only commands are called, so that older code can make its side too.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import dgprune
from dgprune.cli import invoke

RUNTIMES = ("onnxruntime", "openvino", "torch")
ARMS = ("dense", "pruned")
DATA, TARGET = "rotated-digits", "rot75"
Arms = dict[str, dict[str, Path]]


@dataclass(frozen=True, kw_only=True)
class Size:
    """Which model, at how many pixels."""

    model: str
    image_size_px: int


SMALL = Size(model="vit_tiny_patch16_224", image_size_px=112)


def installed(runtimes: Sequence[str]) -> tuple[str, ...]:
    """Those of `runtimes` that can be imported here."""
    return tuple(name for name in runtimes if find_spec(name))


def make_arms(out: Path, size: Size, runtimes: Sequence[str]) -> Arms:
    """Folders under `out`, runtime -> arm -> folder, by prune and export."""
    start = ("--weights", "random", "--image-size", str(size.image_size_px), "--criterion", "l2")
    dense = _prune(out, size.model, *start, "--ratio", "0")
    pruned = _prune(out, str(dense), "--macs", "0.5", "--score-images", "64")
    checkpoints = dict(zip(ARMS, (dense, pruned), strict=True))
    made: Arms = {}
    for runtime in runtimes:
        made[runtime] = checkpoints if runtime == "torch" else _exported(out, checkpoints, runtime)
    return made


def _prune(out: Path, model: str, *more: str) -> Path:
    where = ("--data", DATA, "--target", TARGET, "--out", str(out), "--no-refit", "--quiet")
    return Path(invoke(["prune", model, *where, *more]).path)


def _exported(out: Path, checkpoints: dict[str, Path], runtime: str) -> dict[str, Path]:
    form = "onnx" if runtime == "onnxruntime" else runtime
    where = ("--data", DATA, "--out", str(out), "--format", form, "--parity-images", "16")
    return {
        arm: Path(invoke(["export", str(folder), *where, "--quiet"]).path)
        for arm, folder in checkpoints.items()
    }


def main(tree: Path, out: Path, size: Size, runtimes: Sequence[str]) -> None:
    """Prints what `make_arms` made; exits where another code than that of `tree` is imported."""
    if not Path(dgprune.__file__).resolve().is_relative_to(tree.resolve()):
        sys.exit(f"not the code of {tree.name} is imported; set PYTHONPATH to it")
    made = make_arms(out, size, runtimes)
    print(json.dumps({name: {a: str(p) for a, p in arms.items()} for name, arms in made.items()}))


if __name__ == "__main__":
    folder, place, name, px, *wanted = sys.argv[1:]
    main(Path(folder), Path(place), Size(model=name, image_size_px=int(px)), wanted)
