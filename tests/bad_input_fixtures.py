"""What the tests of bad input share: commands that must fail, harmful files, and a full disk."""

import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from dgprune.cli import _exit_code
from dgprune.models import create
from dgprune.schema import seal
from dgprune.shipped_recipes import recipe_text
from tests.conftest import MICRO, TinyChain

End = tuple[Path, int, str]  # --out or --records, exit code, stderr
# The size in bytes that no file may pass where a command is run on a full disk.
FULL = {"finetune": 1_000_000, "prune": 20_000, "export": 1_000_000, "report": 5000, "run": 4000}
FULL |= {"evaluate": 1000, "bench": 8000}
# One of these says what to do or what is accepted; a test whose line says it in other words
# passes its own pattern.
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
    assert {str(path.relative_to(out)) for path in out.rglob("*")} <= {"dgprune-store.txt"}
    assert [path.name for path in out.parent.rglob("*.tmp*")] == []


@dataclass(frozen=True)
class Cli:
    """Commands run in this process; `folder` is empty, `out` in it does not exist."""

    capsys: pytest.CaptureFixture[str]
    chain: TinyChain
    folder: Path

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def data(self) -> str:
        return self.chain.data

    def works(self, *arguments: object) -> tuple[str, str]:
        code, out, err = self._run(arguments)
        assert code == 0, err
        return out.strip(), err

    def fails(
        self, *arguments: object, says: tuple[str, ...], advice: str = ADVICE, begun: bool = False
    ) -> None:
        """Asserts exit code 2 and one line on stderr; `begun` allows progress before it."""
        code, out, err = self._run(arguments)
        assert out == ""
        check_failure(code, err, *says, advice=advice, begun=begun)

    def refuses(
        self, *arguments: object, says: tuple[str, ...], advice: str = ADVICE, begun: bool = False
    ) -> None:
        """Like `fails`, and with an --out that did not exist nothing is left in it."""
        self.fails(*arguments, "--out", self.out, says=says, advice=advice, begun=begun)
        check_nothing_left(self.out)

    def smallest(self, command: str) -> list[object]:
        return smallest(self.chain, self.out, self.folder)[command]

    def refuses_model(self, folder: Path, says: str, begun: bool = False) -> None:
        """Asserts that a checkpoint is refused by all that read one."""
        self.refuses(*shrink(folder, self.data), says=(says,), begun=begun)
        self.refuses(*export(folder, self.chain), says=(says,), begun=begun)
        self.refuses(*train(self.data, "--teacher", folder), says=(says,), begun=begun)
        records = self.folder / "records.jsonl"
        self.fails(*evaluate(folder, self.chain, records), says=(says,), begun=begun)

    def _run(self, arguments: tuple[object, ...]) -> tuple[int, str, str]:
        self.capsys.readouterr()
        code = _exit_code([str(argument) for argument in arguments])
        out, err = self.capsys.readouterr()
        return code, out, err


def train(
    data: object, *more: object, target: str = "domain2", weights: object = "random"
) -> list[object]:
    start = ["finetune", MICRO, "--weights", weights, "--epochs", "1"]
    return [*start, "--data", data, "--target", target, *more]


def shrink(model: object, data: object, *more: object, target: str = "domain2") -> list[object]:
    """The smallest `prune`; it starts from random weights where `model` is a timm name."""
    weights = ["--weights", "random"] if isinstance(model, str) else []
    where = ["--data", data, "--target", target]
    return ["prune", model, *weights, *where, "--score-images", "4", *more]


def export(checkpoint: object, chain: TinyChain) -> list[object]:
    return ["export", checkpoint, "--data", chain.data, "--parity-images", "2"]


def evaluate(model: object, chain: TinyChain, records: object, *more: object) -> list[object]:
    where = ["--data", chain.data, "--target", chain.target, "--records", records]
    return ["evaluate", model, *where, *more]


def bench(artefact: object, chain: TinyChain, records: object) -> list[object]:
    where = ["--data", chain.data, "--records", records, "--tier", "smoke", "--batch", "1"]
    return ["bench", artefact, *where]


def write_recipe(path: Path, data: object, old: str = "", new: str = "") -> Path:
    """Writes a recipe of one cell and an epoch, the first `old` in it replaced by `new`."""
    text = recipe_text("quickstart").replace('"rotated-digits"', json.dumps(str(data)))
    text = re.sub(r"(?m)^epochs = \d+", "epochs = 1", text.replace('"rot75"', '"domain2"'))
    text = re.sub(r"warmup_epochs = \d+", "warmup_epochs = 0.5", text)
    grid, cell = text.index("[[prune]]"), text.rindex("[[prune]]")
    text = text[:grid] + text[cell:].replace('["hessian", "random"]', '["l1"]')
    text = text.replace("[0.75, 0.95]", "[0.5]").replace("[1, 32]", "[1]")
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return path


def smallest(chain: TinyChain, out: Path, folder: Path) -> dict[str, list[object]]:
    """Each command, writing to `out`; `folder` takes the recipe."""
    return {
        "finetune": [*train(chain.data), "--out", out],
        "prune": [*shrink(chain.dense, chain.data), "--out", out],
        "export": [*export(chain.dense, chain), "--out", out],
        "report": ["report", chain.records, "--out", out],
        "run": ["run", write_recipe(folder / "recipe.toml", chain.data), "--out", out],
        "evaluate": evaluate(chain.dense_artefact, chain, out),
        "bench": bench(chain.dense_artefact, chain, out),
    }


def damage(path: Path, how: str) -> Path:
    """Changes a file: flipped (its last bit), cut, cut-short (by a byte), empty, text or gone."""
    whole = path.read_bytes()
    changed = {
        "flipped": whole[:-1] + bytes([whole[-1] ^ 1]),
        "cut-short": whole[:-1],
        "cut": whole[: len(whole) // 2],
        "empty": b"",
        "text": b"hello",
        "gone": b"",
    }
    path.write_bytes(changed[how])
    if how == "gone":
        path.unlink()
    return path


def save_weights(path: Path, kind: str = "good") -> Path:
    """Writes weights of the tiny model: good, narrower, of other names, or damaged."""
    weights = dict(create(MICRO, num_classes=2, image_size=None).state_dict())
    if kind == "narrower":
        weights = {key: value[..., ::2].clone() for key, value in weights.items()}
    save_file({"encoder.bias": torch.zeros(3)} if kind == "other-names" else weights, path)
    return path if kind in ("good", "narrower", "other-names") else damage(path, kind)


class Bomb:
    """An object that, read from a pickle, creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def forge_weights(checkpoint: Path, harm: Path) -> Path:
    """Puts a pickle in the place of a checkpoint's weights, its digest corrected."""
    weights, meta = checkpoint / "weights.safetensors", checkpoint / "meta.json"
    old = hashlib.sha256(weights.read_bytes()).hexdigest()
    torch.save({"w": Bomb(harm)}, weights)
    new = hashlib.sha256(weights.read_bytes()).hexdigest()
    body = json.loads(meta.read_text().replace(old, new))
    assert body["weights_sha256"] == new
    del body["id"]
    meta.write_text(json.dumps(seal(body)))
    return weights


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


def end_on_full_disk(chain: TinyChain, root: Path) -> dict[str, End]:
    """How each command ends where no file may grow past a size; `root / "tmp"` is for scratch."""
    (root / "tmp").mkdir()
    cases = []
    for name, limit in FULL.items():
        (root / name).mkdir()
        cases.append((limit, smallest(chain, root / name / "out", root / name)[name]))
    done = subprocess.run(
        [sys.executable, "-c", _FULL_DISK],
        input=json.dumps(cases, default=str),
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": str(root / "tmp")},
        check=True,
    )
    ends = zip(FULL, json.loads(done.stdout.splitlines()[-1]), strict=True)
    return {name: (root / name / "out", code, err) for name, (code, err) in ends}
