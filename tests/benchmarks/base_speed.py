"""Speed at the paper's size: Base models at 224 px, cut by both engines and timed.

    python -m tests.benchmarks.base_speed make OUT [MODEL...]
    python -m tests.benchmarks.base_speed time OUT [MODEL...]
    python -m tests.benchmarks.base_speed time-on-gpu OUT [MODEL...]
    python -m tests.benchmarks.base_speed page OUT FOLDER

Random weights: the speed is that of trained ones on a CPU, and nothing is said about accuracy.
`make` writes the files, `time` measures them with nothing else running (an hour a model) and goes
on where it stopped, `time-on-gpu` does so in fp16 and fp32 on CUDA, `page` writes FOLDER/README.md
and the records.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from dgprune.records import LatencyRecord, read_records
from dgprune.statistics import Interval, speedup_interval
from dgprune.structure import Structure, cost_of
from tests.benchmarks.timed import Timing, export, prune

MODELS = ("vit_base_patch16_224", "deit_base_patch16_224", "beit_base_patch16_224")
RATIOS = ("0.5", "0.75", "0.95")
BATCHES = (1, 8, 32)
# The paper's method as published, and this project's default; scores of so few images are noise,
# which random weights do not mind.
ENGINES = (
    ("--engine", "torch-pruning", "--criterion", "hessian", "--ranking", "global"),
    ("--criterion", "fisher", "--ranking", "isomorphic"),
)
PAPER = {"vit": "2.5x", "beit": "1.81x", "deit": "2.15x"}
Column = tuple[str, int]  # runtime, batch size
Cells = dict[tuple[str, str, int], Interval]  # label, runtime, batch size


def files(out: Path, model: str, precision: str = "fp32") -> list[Path]:
    """The dense artefact, then the pruned ones; those that are there are not made again."""
    store, start = out / "store", ("--weights", "random", "--criterion", "l2", "--ratio", "0")
    dense = prune(store, model, *start)
    cuts = [
        prune(store, str(dense), *engine, "--ratio", ratio, "--score-images", "16")
        for engine in ENGINES
        for ratio in RATIOS
    ]
    return [export(store, made, precision=precision) for made in (dense, *cuts)]


def measure(out: Path, model: str) -> None:
    """Every file of a model at batch 1, then at 8, then at 32: a stop leaves whole columns."""
    dense, *cuts = files(out, model)
    for size in BATCHES:
        timing = Timing(records=out / f"{model}.jsonl", baseline=dense, batches=(size,))
        for artefact in (dense, *cuts):
            timing.time(artefact)


def measure_on_gpu(out: Path, model: str) -> None:
    """Every file in fp16, then in fp32, on ONNX Runtime's CUDA provider."""
    for precision in ("fp16", "fp32"):
        dense, *cuts = files(out, model, precision)
        records, batches = out / f"{model}-cuda.jsonl", (1, 32)
        timing = Timing(
            records=records,
            baseline=dense,
            batches=batches,
            runtimes=("onnxruntime",),
            provider="cuda",
        )
        for artefact in (dense, *cuts):
            timing.time(artefact)


def page(out: Path, folder: Path) -> None:
    """The table of what was measured so far, and its records."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        "# Speed at the paper's size",
        "",
        "Base models at 224 px, random weights (nothing about accuracy), one thread; speed "
        "over the dense file in the same run, with its 95 % interval. By torch-pruning unchanged "
        "(Hessian, global, as the paper) and by this project's default (Fisher on gates, "
        "isomorphic). The paper gives one number at 50 %, "
        + ", ".join(f"{speed} for {name}" for name, speed in PAPER.items())
        + ", and up to 23x at 95 %. Written by `python -m tests.benchmarks.base_speed`.",
    ]
    names = [f"{model}{where}" for model in MODELS for where in ("", "-cuda")]
    for file in (out / f"{name}.jsonl" for name in names):
        if not file.exists():
            continue
        (folder / file.name).write_bytes(file.read_bytes())
        found = [e.record for e in read_records(file) if isinstance(e.record, LatencyRecord)]
        for precision in dict.fromkeys(record.subject.precision for record in found):
            lines += _table(file.stem, [r for r in found if r.subject.precision == precision])
    (folder / "README.md").write_text("\n".join(lines) + "\n")


def _table(name: str, timed: Sequence[LatencyRecord]) -> Iterator[str]:
    """The files of one model, precision and device."""
    cells: Cells = {}
    structures: dict[str, Structure] = {}
    for record in timed:
        label = _label(record)
        cells[label, record.runtime.name, record.batch_size] = speedup_interval(record.replicas)
        structures[label] = record.subject.structure
    columns = sorted({(runtime, size) for _, runtime, size in cells})
    told = " | ".join(f"{runtime}, batch {size}" for runtime, size in columns)
    yield from ("", f"## {name}, {timed[0].subject.precision}", "", f"{_machines(timed)}.", "")
    yield f"| file | width | attention | MLP | MACs kept | fewer MACs | {told} |"
    yield f"| --- | ---: | ---: | ---: | ---: | ---: |{' --- |' * len(columns)}"
    dense = cost_of(structures["dense"]).macs_per_image
    for label, structure in structures.items():
        kept = cost_of(structure).macs_per_image / dense
        speeds = " | ".join(_cell(cells.get((label, *column))) for column in columns)
        yield f"| {label} | {_sizes(structure)} | {kept:.1%} | {1 / kept:.2f}x | {speeds} |"


def _machines(timed: Sequence[LatencyRecord]) -> str:
    """What measured, and where several did, which columns and which files of shared ones."""
    files: dict[str, dict[Column, list[str]]] = defaultdict(lambda: defaultdict(list))
    for record in timed:
        env = record.environment
        machine = env.device.name if env.device else env.cpu
        files[machine][record.runtime.name, record.batch_size].append(_label(record))
    if len(files) == 1:
        return next(iter(files))
    shared = Counter(column for found in files.values() for column in found)
    return "; ".join(
        f"{', '.join(_column(column, found[column], shared) for column in sorted(found))}: "
        f"{machine}"
        for machine, found in files.items()
    )


def _column(column: Column, labels: Sequence[str], shared: Counter[Column]) -> str:
    runtime, size = column
    files = "" if shared[column] == 1 else f" ({', '.join(dict.fromkeys(labels))})"
    return f"{runtime} batch {size}{files}"


def _label(record: LatencyRecord) -> str:
    """The cut alone; the whole model is a cut of nothing, whose label the others begin with."""
    assert record.baseline is not None
    whole = record.baseline.label
    return "dense" if record.is_control else record.subject.label.removeprefix(f"{whole}+")


def _sizes(structure: Structure) -> str:
    attention = [block.attention_dim for block in structure.blocks]
    mlp = [block.mlp_hidden for block in structure.blocks]
    return f"{structure.embed_dim} | {_range(attention)} | {_range(mlp)}"


def _range(sizes: Sequence[int]) -> str:
    low, high = min(sizes), max(sizes)
    return str(low) if low == high else f"{low}-{high}"


def _cell(speedup: Interval | None) -> str:
    if speedup is None:
        return "not measured"
    return f"{speedup.estimate:.2f}x ({speedup.low:.2f} to {speedup.high:.2f})"


if __name__ == "__main__":
    command, out_folder, *arguments = sys.argv[1:]
    if command == "page":
        page(Path(out_folder), Path(arguments[0]))
    else:
        work: dict[str, Callable[[Path, str], object]]
        work = {"make": files, "time": measure, "time-on-gpu": measure_on_gpu}
        for name in arguments or MODELS:
            work[command](Path(out_folder), name)
