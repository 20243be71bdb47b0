"""Cells without work: commands that write a small file, fail, or kill their own process.

Also a program: `python -m tests.dgprune.sweep.trivial PLAN OUT [--jobs N | --ray auto]`.
"""

import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from dgprune.errors import DgpruneError
from dgprune.progress import Plain
from dgprune.runtimes.opening import runtime_spec
from dgprune.schema import digest, encode
from dgprune.stage import Done
from dgprune.store import append_lines, new_folder
from dgprune.sweep.sweep import SweepSpec, sweep

PLAN = """
data = "{data}"
targets = {targets}
seeds = {seeds}
[[model]]
name = "vit_micro_patch4_32"
weights = "random"
image_size = 32
[dense]
epochs = 1
lr = 1e-3
batch_size = 8
weight_decay = 0.05
warmup_epochs = 0.5
label_smoothing = 0.0
augmentation = "glyph"
[[prune]]
criteria = {criteria}
rankings = ["global"]
ratios = [0.5]
score_images = 4
refit = false
[recover]
epochs = 1
lr = 1e-3
batch_size = 8
weight_decay = 0.05
warmup_epochs = 0.5
label_smoothing = 0.0
augmentation = "glyph"
[distill]
weight = 0.5
temperature = 3.0
"""


def write_plan(
    path: Path,
    data: object,
    *,
    criteria: Sequence[str] = ("l1", "l2"),
    targets: Sequence[str] = ("all",),
    seeds: Sequence[int] = (0, 1),
) -> Path:
    lists = {"criteria": criteria, "targets": targets, "seeds": seeds}
    text = PLAN.format(data=data, **{key: json.dumps(list(value)) for key, value in lists.items()})
    path.write_text(text)
    return path


def invoke(arguments: Sequence[str]) -> Done:
    """Runs a command in name only; what it did is added to `calls.txt` in its store.

    A criterion `slow-S` takes S seconds, `fails` is refused, `breaks` raises another error, `dies`
    kills the process, and `dies-once` does so where it has not before.
    """
    given = dict(zip(arguments, [*arguments[1:], ""], strict=True))
    if arguments[0] == "bench":
        return _bench(arguments[1], given)
    if arguments[0] == "evaluate":
        return _evaluate(arguments[1], Path(given["--records"]))
    store = Path(given["--out"]) if arguments[0] != "report" else Path(given["--out"]).parent
    criterion = given.get("--criterion", "")
    _misbehave(criterion, store)
    # Paths hold the name of a test's folder, and equal work must get an equal name.
    name = digest([part.replace(str(store), "") for part in arguments])
    folder = store / f"{arguments[0]}-{criterion or 'x'}-{name[:12]}"
    if folder.exists() and arguments[0] != "report":
        return Done(path=folder, fresh=False)
    with new_folder(folder) as temporary:
        (temporary / "file").write_text(name)
        _wait(criterion)
    _log(store, folder.name if arguments[0] != "report" else "report")
    return Done(path=folder, fresh=True)


def _evaluate(artefact: str, records: Path) -> Done:
    append_lines(
        records, [json.dumps({"artefact": Path(artefact).name, "domain": d}) for d in "ab"]
    )
    _log(Path(artefact).parent, f"evaluate {Path(artefact).name}")
    return Done(path=records, fresh=True)


def _bench(artefact: str, given: dict[str, str]) -> Done:
    arms = [Path(path).name for path in (artefact, given["--baseline"])]
    line = {
        "latency": arms,
        "subject": {"lineage": [{"digest": arms[0].rpartition("-")[2]}]},
        "spec": {"tier": given["--tier"]},
        "batch_size": int(given["--batch"]),
        "runtime": encode(runtime_spec("onnx", None, None, 1, allow_fallback=False)),
    }
    append_lines(Path(given["--records"]), [json.dumps(line)])
    _log(Path(artefact).parent, "bench")
    return Done(path=Path(given["--records"]), fresh=True)


def _misbehave(criterion: str, store: Path) -> None:
    if criterion == "fails":
        raise DgpruneError("it fails on purpose; leave it out")
    if criterion == "breaks":
        _log(store, "broke")
        raise RuntimeError("it breaks\non purpose")
    if criterion == "dies" or (criterion == "dies-once" and not (store / "died").exists()):
        (store / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)


def _wait(criterion: str) -> None:
    if criterion.startswith("slow"):
        time.sleep(float(criterion.split("-")[1]))


def _log(store: Path, what: str) -> None:
    with (store / "calls.txt").open("a") as file:
        file.write(f"{what} {os.getpid()} {os.environ.get('OMP_NUM_THREADS')}\n")


def log_of(store: Path) -> list[list[str]]:
    """What was done, in order: words, then process and threads."""
    return [line.split(" ") for line in (store / "calls.txt").read_text().splitlines()]


def calls(store: Path) -> Counter[str]:
    """How often each piece of work was done, reports apart."""
    return Counter(" ".join(words[:-2]) for words in log_of(store) if words[0] != "report")


if __name__ == "__main__":
    from tests.dgprune.sweep.trivial import invoke as importable

    name, number = sys.argv[3:] or ("--jobs", "1")
    how = {"ray": number} if name == "--ray" else {"jobs": int(number)}
    spec = SweepSpec(plan=Path(sys.argv[1]), out=Path(sys.argv[2]), **how)
    sys.exit(sweep(spec, importable, Plain()).exit_code)
