"""What the tests of bad input share: tiny data, a tiny chain, and commands that must fail."""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dgprune.cli import _exit_code

MICRO = "vit_micro_patch4_32"
MARKER = "dgprune-store.txt"
# One of these words says what to do; a test whose line says it otherwise passes its own pattern.
ADVICE = (
    r"did you mean|supported|\b(add|choose|convert|correct|delete|download|evaluate|export|free|give"
    r"|install|lower|make|name|needs?|needed|pass|put|remove|repair|restore|run|see|take|type|use)\b"
)


@dataclass(frozen=True)
class Cli:
    """Commands run in this process; `capsys` holds what they print."""

    capsys: pytest.CaptureFixture[str]

    def works(self, *arguments: object) -> tuple[str, str]:
        """What a command that must succeed printed on stdout and on stderr."""
        self.capsys.readouterr()
        code = _exit_code([str(argument) for argument in arguments])
        out, err = self.capsys.readouterr()
        assert code == 0, err
        return out.strip(), err

    def fails(
        self, *arguments: object, says: tuple[str, ...], advice: str = ADVICE, begun: bool = False
    ) -> str:
        """The one line of a command that must exit 2; `begun` allows progress before it."""
        self.capsys.readouterr()
        code = _exit_code([str(argument) for argument in arguments])
        out, err = self.capsys.readouterr()
        assert out == ""
        return check_failure(code, err, says=says, advice=advice, begun=begun)


def check_failure(
    code: int, err: str, *, says: tuple[str, ...], advice: str = ADVICE, begun: bool = False
) -> str:
    """The error line of a command, which is the last and, unless work had begun, the only one."""
    assert code == 2, err
    lines = err.splitlines()
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:]
    assert "Traceback" not in err
    if not begun:
        assert len(lines) == 1
    for text in says:
        assert text in lines[-1]
    assert re.search(advice, lines[-1]), f"says what is wrong, not what to do: {lines[-1]}"
    return lines[-1]


def check_nothing_left(out: Path) -> None:
    """Asserts that `out` holds at most the marker of a store, and no temporary file is beside."""
    left = {str(path.relative_to(out)) for path in out.rglob("*")} if out.is_dir() else set()
    assert left <= {MARKER}
    assert out.is_dir() or not out.exists()
    if out.parent.is_dir():
        assert [path.name for path in out.parent.rglob("*.tmp*")] == []


def make_data(root: Path, domains: int = 3, classes: int = 2, images: int = 4) -> Path:
    """A data folder of noise whose brightness tells the class."""
    rng = np.random.default_rng(0)
    for domain in range(domains):
        for label in range(classes):
            folder = root / f"domain{domain}" / f"class{label}"
            folder.mkdir(parents=True)
            for number in range(images):
                pixels = rng.integers(0, 100, (32, 32, 3)) + label * 150
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return root


def train(data: Path, *more: object, target: str = "domain0") -> tuple[object, ...]:
    """The arguments of the smallest `finetune`."""
    start = ("finetune", MICRO, "--weights", "random", "--epochs", "1")
    return (*start, "--data", data, "--target", target, *more)


def cut(source: object, data: Path, *more: object) -> tuple[object, ...]:
    """The arguments of the smallest `prune`; a timm name starts from random weights."""
    weights = ("--weights", "random") if source == MICRO else ()
    target = ("--data", data, "--target", "domain0")
    return ("prune", source, *weights, *target, "--score-images", "4", *more)


@dataclass(frozen=True)
class Chain:
    """One of everything, made from the tiny data; tests copy what they damage."""

    data: Path
    checkpoint: Path
    artefact: Path
    records: Path

    def export(self, checkpoint: Path, *more: object) -> tuple[object, ...]:
        return ("export", checkpoint, "--data", self.data, "--parity-images", "2", *more)

    def evaluate(self, model: Path, records: Path, *more: object) -> tuple[object, ...]:
        start = ("evaluate", model, "--data", self.data, "--target", "domain0")
        return (*start, "--records", records, *more)

    def bench(self, artefact: Path, records: Path, *more: object) -> tuple[object, ...]:
        start = ("bench", artefact, "--data", self.data, "--tier", "smoke", "--batch", "1")
        return (*start, "--records", records, *more)


def make_chain(root: Path) -> Chain:
    """A checkpoint, its artefact and its accuracy records, in `root`."""
    data = make_data(root / "data")
    checkpoint = Path(_path_of(*train(data, "--out", root / "store")))
    records = root / "records.jsonl"
    chain = Chain(data, checkpoint, checkpoint, records)
    artefact = Path(_path_of(*chain.export(checkpoint, "--out", root / "store")))
    _path_of(*chain.evaluate(artefact, records))
    return Chain(data, checkpoint, artefact, records)


def _path_of(*arguments: object) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert _exit_code([*(str(argument) for argument in arguments), "--quiet"]) == 0
    return out.getvalue().strip()


_FULL_DISK = """
import contextlib, io, json, resource, signal, sys, traceback
import torch
from dgprune.cli import _exit_code
torch.set_num_threads(1)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
told = []
for limit, arguments in json.load(sys.stdin):
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    with contextlib.redirect_stderr(io.StringIO()) as err, contextlib.redirect_stdout(io.StringIO()):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            code = _exit_code(arguments)
        except Exception:
            code = 1
            traceback.print_exc()
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    told.append((code, err.getvalue()))
print(json.dumps(told))
"""


def run_on_full_disk(
    cases: list[tuple[int, tuple[object, ...]]], temporary: Path
) -> list[tuple[int, str]]:
    """Exit code and stderr of each command, run where no file may grow past its limit in bytes."""
    given = [(limit, [str(argument) for argument in arguments]) for limit, arguments in cases]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": str(temporary)}
    done = subprocess.run(
        [sys.executable, "-c", _FULL_DISK],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    return [(code, err) for code, err in json.loads(done.stdout.splitlines()[-1])]
