"""`dgprune evaluate`, `dgprune bench`, `dgprune profile` and `dgprune doctor`."""

from pathlib import Path
from typing import Annotated

import typer

from dgprune.options import (
    AllowFallback,
    AsJson,
    Data,
    Protocol,
    Provider,
    Quiet,
    Records,
    RuntimeName,
    Seed,
    SkipBadImages,
    Target,
)
from dgprune.output import finish
from dgprune.progress import progress_for
from dgprune.recipe import Recipe
from dgprune.stage import Done


def evaluate(
    subject: Annotated[
        str, typer.Argument(metavar="CHECKPOINT|ARTEFACT", help="What to evaluate.")
    ],
    data: Data,
    target: Target = None,
    protocol: Protocol = None,
    runtime: RuntimeName = None,
    provider: Provider = None,
    allow_fallback: AllowFallback = False,
    records: Records = Path("runs/records.jsonl"),
    skip_bad_images: SkipBadImages = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> Done:
    """Measure accuracy per domain on the file itself; prints the records file."""
    from benchmark.accuracy import EvaluateSpec
    from benchmark.accuracy import evaluate as run

    spec = EvaluateSpec(
        subject=subject,
        data=data,
        target=target,
        protocol=protocol,
        runtime=runtime,
        provider=provider,
        allow_fallback=allow_fallback,
        skip_bad_images=skip_bad_images,
    )
    return finish(run(spec, records, progress_for(quiet=quiet)), as_json=as_json)


def bench(
    artefact: Annotated[
        str, typer.Argument(metavar="ARTEFACT|CHECKPOINT", help="The file to time.")
    ],
    data: Data,
    baseline: Annotated[
        str | None,
        typer.Option(metavar="ARTEFACT|CHECKPOINT", help="The dense file, timed in alternation."),
    ] = None,
    vary: Annotated[
        str, typer.Option(help="What the arms differ in: network, precision or runtime.")
    ] = "network",
    runtime: RuntimeName = None,
    provider: Provider = None,
    baseline_runtime: Annotated[
        str | None, typer.Option(metavar="RT", help="Runtime of the baseline, to vary runtimes.")
    ] = None,
    baseline_provider: Annotated[
        str | None, typer.Option(metavar="P", help="Provider of the baseline, likewise.")
    ] = None,
    allow_fallback: AllowFallback = False,
    batch: Annotated[
        str, typer.Option(help="Batch sizes, such as 1,8,32; sweep is 1 to 128.")
    ] = "1,8,32",
    tier: Annotated[str, typer.Option(help="smoke, default or claim: how precisely.")] = "default",
    cold_start: Annotated[
        bool, typer.Option(help="Also time the first load and call, in two more processes.")
    ] = True,
    threads: Annotated[int, typer.Option(help="Threads of the runtime, pinned.")] = 1,
    records: Records = Path("runs/records.jsonl"),
    seed: Seed = 0,
    skip_bad_images: SkipBadImages = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> Done:
    """Time an artefact, or its speedup over a baseline; exits 0, 1 (slower) or 3 (inconclusive)."""
    from benchmark.cells import LatencySpec, batch_sizes
    from benchmark.latency import bench as run

    spec = LatencySpec(
        artefact=artefact,
        data=data,
        baseline=baseline,
        varies=vary,  # type: ignore[arg-type]
        runtime=runtime,
        provider=provider,
        baseline_runtime=baseline_runtime,
        baseline_provider=baseline_provider,
        allow_fallback=allow_fallback,
        batch_sizes=batch_sizes(batch),
        tier=tier,
        cold_start=cold_start,
        threads=threads,
        seed=seed,
        skip_bad_images=skip_bad_images,
    )
    return finish(run(spec, records, progress_for(quiet=quiet)), as_json=as_json)


def profile(
    artefact: Annotated[str, typer.Argument(metavar="ARTEFACT", help="The file to profile.")],
    data: Data,
    baseline: Annotated[
        str | None,
        typer.Option(metavar="ARTEFACT", help="The dense file, profiled in alternation."),
    ] = None,
    runtime: RuntimeName = None,
    provider: Provider = None,
    allow_fallback: AllowFallback = False,
    batch: Annotated[int, typer.Option(help="Images a call.")] = 1,
    threads: Annotated[int, typer.Option(help="Threads of the runtime, pinned.")] = 1,
    records: Records = Path("runs/records.jsonl"),
    skip_bad_images: SkipBadImages = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> Done:
    """Show where the time of an artefact goes, and where it saves time over a baseline."""
    from benchmark.cells import LatencySpec
    from benchmark.profile import profile as run
    from benchmark.profile import show

    spec = LatencySpec(
        artefact=artefact,
        data=data,
        baseline=baseline,
        runtime=runtime,
        provider=provider,
        allow_fallback=allow_fallback,
        batch_sizes=(batch,),
        tier="smoke",  # how long does not depend on it
        threads=threads,
        skip_bad_images=skip_bad_images,
    )
    done = run(spec, records, progress_for(quiet=quiet))
    if not quiet:
        show(done.summary)
    return finish(done, as_json=as_json)


def doctor(as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Say what is installed, which runtimes really work here, and how to get the others."""
    from benchmark.doctor import examine, print_findings

    print_findings(examine(), as_json=as_json)


def check_recipe(recipe: Recipe, form: str = "onnx", *, here: bool = True) -> None:
    """Raises DgpruneError for a value that `bench` would refuse, before the first step runs.

    `form` is the format of the files; `here` tells whether this machine is to execute them.
    """
    from benchmark.cells import LatencySpec
    from benchmark.tiers import tier
    from dgprune.runtimes.opening import require_executes, require_here, runtime_spec

    bench = recipe.bench
    tier(bench.tier, recipe.seed)
    for part in (bench, recipe.evaluate):
        asked = runtime_spec(form, part.runtime, part.provider, 1, allow_fallback=False)
        if here:
            require_here(asked)
            for precision in recipe.export.precisions:
                require_executes(precision, asked)
    LatencySpec(artefact="", data="", batch_sizes=bench.batch, threads=bench.threads)
