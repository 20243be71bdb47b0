"""The files of a sweep, made by hand: what is crossed with what, structure, lineage and origin."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import product

from dgprune.lineage import LineageStep, Origin
from dgprune.records import LatencyRecord, Subject, read_records
from dgprune.schema import Json, digest
from dgprune.structure import Block, Structure
from tests.fakes.accuracy import FIXTURE


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What is crossed with what; every number of a record follows from its place in the cross."""

    model: str = "vit_tiny"
    data: str = "noise"
    domains: tuple[str, ...] = ("a", "b", "c")
    targets: tuple[str, ...] = ("c",)
    seeds: tuple[int, ...] = (0,)
    criteria: tuple[str, ...] = ("l1", "taylor")
    ratios: tuple[float, ...] = (0.25, 0.5, 0.75)
    rankings: tuple[str, ...] = ("global",)
    executed: tuple[tuple[str, str], ...] = (("onnxruntime", "fp32"),)
    batches: tuple[int, ...] = (1, 8)
    judged: bool = True
    control: bool = True
    images: int = 40
    rounds: int = 12
    calls: int = 4
    depth: int = 3
    label: str = "{ranking}{criterion}-{percent}"


@dataclass(frozen=True, kw_only=True)
class File:
    """One file of a sweep: `criterion` is "" of the dense one, `place` counts files.

    `right` images and `speedup` stand for the formulas where a test needs its own numbers.
    """

    target: str
    seed: int
    runtime: str
    precision: str
    criterion: str = ""
    ratio: float = 0.0
    ranking: str = "global"
    place: int = 0
    right: int | None = None
    speedup: float | None = None


def files(sweep: Sweep) -> Iterator[File]:
    """The dense file, then the pruned ones, by target, seed and what executes them."""
    for target, seed, (runtime, precision) in product(sweep.targets, sweep.seeds, sweep.executed):
        dense = File(target=target, seed=seed, runtime=runtime, precision=precision)
        yield dense
        ways = product(sweep.criteria, sweep.rankings, sweep.ratios)
        for place, (criterion, ranking, ratio) in enumerate(ways, 1):
            yield replace(dense, criterion=criterion, ratio=ratio, ranking=ranking, place=place)


def dense_beside(file: File) -> File:
    """The dense file that `file` was pruned from."""
    plain = File(target=file.target, seed=file.seed, runtime="", precision="")
    return replace(plain, runtime=file.runtime, precision=file.precision)


def subject_of(sweep: Sweep, file: File) -> Subject:
    """The file that every record of it speaks of."""
    spec: Json = {"criterion": file.criterion, "ranking": file.ranking, "ratio": file.ratio}
    seed = {"seed": file.seed}
    steps = [_step("source", seed, file), _step("finetune", seed, file)]
    if file.criterion:
        steps += [_step("prune", spec | seed, file), _step("finetune", seed | {"after": 1}, file)]
    steps.append(_step("export", {"precision": file.precision}, file))
    like = template().subject
    preprocessing = like.origin.preprocessing
    return Subject(
        label=_label(sweep, file),
        sha256=digest([sweep.model, sweep.data, _key(file)]),
        size_bytes=round(1e6 * (1 - file.ratio) + 1e5),
        format="onnx",
        precision=file.precision,
        structure=_structure(sweep, file),
        origin=Origin(
            model=sweep.model,
            data_name=sweep.data,
            data_digest=digest(sweep.data),
            split_digest=digest([sweep.data, file.target]),
            split_seed=0,
            target=file.target,
            classes=("0", "1", "2", "3"),
            preprocessing=preprocessing,
        ),
        lineage=tuple(steps),
    )


def _label(sweep: Sweep, file: File) -> str:
    if not file.criterion:
        return "dense"
    ranking = "" if file.ranking == "global" else f"{file.ranking}-"
    percent = f"{100 * file.ratio:g}"
    return sweep.label.format(ranking=ranking, criterion=file.criterion, percent=percent)


def _structure(sweep: Sweep, file: File) -> Structure:
    """Later blocks lose more of their MLP, none of them all of it."""
    like = template().subject.structure
    blocks = tuple(
        Block(
            num_heads=3 if file.ratio < 0.5 else 2,
            head_dim=64,
            mlp_hidden=max(1, round(768 * (1 - file.ratio * (n + 1) / sweep.depth))),
        )
        for n in range(sweep.depth)
    )
    return replace(like, model=sweep.model, embed_dim=192, blocks=blocks)


def _step(stage: str, spec: Json, file: File) -> LineageStep:
    dense = stage == "source" or (stage == "finetune" and "after" not in spec)
    of = [file.target, file.seed] if dense else _key(file)
    return LineageStep(stage=stage, digest=digest([stage, spec, of]), spec=spec)


def _key(file: File) -> str:
    """What tells a file from every other one."""
    return repr(replace(file, right=None, speedup=None))


@cache
def template() -> LatencyRecord:
    """A latency record of an old run: everything of it that a sweep does not set."""
    found = [entry.record for entry in read_records(FIXTURE)]
    return next(record for record in found if isinstance(record, LatencyRecord))
