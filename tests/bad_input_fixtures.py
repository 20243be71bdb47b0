"""What the tests of bad input share: commands that must fail, and a disk that is full."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from dgprune.cli import _exit_code
from tests.conftest import MICRO, TinyChain

MARKER = "dgprune-store.txt"
# One of these says what to do or what is accepted; a test whose line says it otherwise passes its
# own pattern.
ADVICE = (
    r"did you mean|must be|supported|\b(add|choose|convert|correct|delete|download|evaluate|export"
    r"|free|give|install|lower|make|measure|name|needs?|needed|pass|put|remove|repair|restore|run"
    r"|see|take|type|use)\b"
)


def check_failure(
    code: int, err: str, *says: str, advice: str = ADVICE, begun: bool = False
) -> str:
    """The error line: the last one and, unless work had begun, the only one."""
    assert code == 2, err
    assert "Traceback" not in err
    lines = err.splitlines()
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:]
    assert begun or len(lines) == 1, err
    assert [text for text in says if text not in lines[-1]] == [], lines[-1]
    assert re.search(advice, lines[-1]), f"says what is wrong, not what to do: {lines[-1]}"
    return lines[-1]


def check_nothing_left(out: Path) -> None:
    """Asserts that `out` holds at most the marker of a store, and nothing temporary is beside."""
    assert out.is_dir() or not (out.exists() or out.is_symlink())
    assert {str(path.relative_to(out)) for path in out.rglob("*")} <= {MARKER}
    assert [path.name for path in out.parent.rglob("*.tmp*")] == []


@dataclass(frozen=True)
class Cli:
    """Commands run in this process; `capsys` holds what they print."""

    capsys: pytest.CaptureFixture[str]

    def works(self, *arguments: object) -> tuple[str, str]:
        """What a command that must succeed printed on stdout and on stderr."""
        code, out, err = self._run(arguments)
        assert code == 0, err
        return out.strip(), err

    def fails(
        self, *arguments: object, says: tuple[str, ...], advice: str = ADVICE, begun: bool = False
    ) -> str:
        """The one line of a command that must exit 2; `begun` allows progress before it."""
        code, out, err = self._run(arguments)
        assert out == ""
        return check_failure(code, err, *says, advice=advice, begun=begun)

    def _run(self, arguments: tuple[object, ...]) -> tuple[int, str, str]:
        self.capsys.readouterr()
        code = _exit_code([str(argument) for argument in arguments])
        out, err = self.capsys.readouterr()
        return code, out, err


def train(data: object, *more: object, target: str = "domain2") -> list[object]:
    """The smallest `finetune`."""
    start = ["finetune", MICRO, "--weights", "random", "--epochs", "1"]
    return [*start, "--data", data, "--target", target, *more]


def shrink(model: object, data: object, *more: object, target: str = "domain2") -> list[object]:
    """The smallest `prune`; it starts from random weights where `model` is a timm name."""
    weights = ["--weights", "random"] if isinstance(model, str) else []
    where = ["--data", data, "--target", target]
    return ["prune", model, *weights, *where, "--score-images", "4", *more]


def export(checkpoint: object, chain: TinyChain, *more: object) -> list[object]:
    """The smallest `export`."""
    return ["export", checkpoint, "--data", chain.data, "--parity-images", "2", *more]


def evaluate(model: object, chain: TinyChain, records: object, *more: object) -> list[object]:
    """The smallest `evaluate`."""
    where = ["--data", chain.data, "--target", chain.target, "--records", records]
    return ["evaluate", model, *where, *more]


def bench(artefact: object, chain: TinyChain, records: object, *more: object) -> list[object]:
    """The smallest `bench`."""
    where = ["--data", chain.data, "--records", records, "--tier", "smoke", "--batch", "1"]
    return ["bench", artefact, *where, *more]


_FULL_DISK = """
import contextlib, io, json, resource, signal, sys, traceback
import torch
from dgprune.cli import _exit_code
torch.set_num_threads(1)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
told = []
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
for limit, arguments in json.load(sys.stdin):
    err = io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            code = _exit_code(arguments)
        except Exception:
            code = 1
            traceback.print_exc()
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    told.append((code, err.getvalue()))
print(json.dumps(told))
"""


def run_on_full_disk(
    cases: list[tuple[int, list[object]]], temporary: Path
) -> list[tuple[int, str]]:
    """Exit code and stderr of each command, run where no file may grow past its limit in bytes."""
    given = [(limit, [str(argument) for argument in arguments]) for limit, arguments in cases]
    done = subprocess.run(
        [sys.executable, "-c", _FULL_DISK],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": str(temporary)},
        check=True,
    )
    return [(code, err) for code, err in json.loads(done.stdout.splitlines()[-1])]
