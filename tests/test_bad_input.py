"""Bad input: exit code 2, one line that names what is wrong and what to do, nothing left behind."""

import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from dgprune.models import create
from dgprune.recipe import recipe_text
from tests.bad_input_fixtures import (
    Cli,
    bench,
    check_nothing_left,
    evaluate,
    export,
    shrink,
    train,
)
from tests.conftest import MICRO, TinyChain, make_folder

COMMANDS = ("finetune", "prune", "export", "evaluate", "bench", "report", "run")


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "photos", images=4)


class Bomb:
    """An object that, read from a pickle, creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def micro_weights() -> dict[str, torch.Tensor]:
    return dict(create(MICRO, num_classes=2, image_size=None).state_dict())


def with_weights(weights: object, data: Path, out: Path) -> list[object]:
    where = ["--data", data, "--target", "domain2", "--epochs", "1", "--out", out]
    return ["finetune", MICRO, "--weights", weights, *where]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("vit_tiny_patch16_22", ("vit_tiny_patch16_224",)),
        ("vit_micro_patch4_31", (MICRO,)),
        ("resnet50", ("vit_",)),
        ("swin_tiny_patch4_window7_224", ("vit_",)),
        ("no/such/folder", ("no/such/folder",)),
    ],
)
def test_model_name(cli: Cli, data_folder: Path, out: Path, name: str, says: tuple[str]) -> None:
    for command in ("finetune", "prune"):
        where = ["--data", data_folder, "--target", "domain2", "--out", out]
        cli.fails(command, name, "--weights", "random", *where, says=(name, *says))
        check_nothing_left(out)


def test_weights_missing(cli: Cli, data_folder: Path, out: Path, tmp_path: Path) -> None:
    for weights in (tmp_path / "none.safetensors", "pretrainde", tmp_path):
        cli.fails(*with_weights(weights, data_folder, out), says=(str(weights),))
        check_nothing_left(out)


@pytest.mark.parametrize("kept", [0, 4, 100, 0.5, -1])
def test_weights_truncated(
    cli: Cli, data_folder: Path, out: Path, tmp_path: Path, kept: float
) -> None:
    path = tmp_path / "torn.safetensors"
    save_file(micro_weights(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if kept == 0.5 else int(kept)])
    cli.fails(*with_weights(path, data_folder, out), says=(str(path), "safetensors"), begun=True)
    check_nothing_left(out)


def test_weights_of_another_model(cli: Cli, data_folder: Path, out: Path, tmp_path: Path) -> None:
    narrow = {key: value[..., ::2].contiguous() for key, value in micro_weights().items()}
    for number, weights in enumerate((narrow, {"encoder.bias": torch.zeros(3)})):
        path = tmp_path / f"other{number}.safetensors"
        save_file(weights, path)
        cli.fails(*with_weights(path, data_folder, out), says=(str(path), MICRO), begun=True)
        check_nothing_left(out)


@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.bin", "w.safetensors"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_is_never_loaded(
    cli: Cli, data_folder: Path, out: Path, tmp_path: Path, name: str, zipped: bool
) -> None:
    path, harm = tmp_path / name, tmp_path / "harm"
    torch.save({"w": Bomb(harm)}, path, _use_new_zipfile_serialization=zipped)
    cli.fails(*with_weights(path, data_folder, out), says=(str(path), "pickle", "safetensors"))
    check_nothing_left(out)
    assert not harm.exists()
    torch.load(path, weights_only=False)
    assert harm.exists(), "the test's pickle does no harm"


def test_a_pickle_inside_a_checkpoint_is_never_loaded(
    cli: Cli, chain: TinyChain, out: Path, tmp_path: Path
) -> None:
    folder, harm = shutil.copytree(chain.dense, tmp_path / "checkpoint"), tmp_path / "harm"
    weights, meta = folder / "weights.safetensors", folder / "meta.json"
    old = hashlib.sha256(weights.read_bytes()).hexdigest()
    torch.save({"w": Bomb(harm)}, weights)
    new = hashlib.sha256(weights.read_bytes()).hexdigest()
    meta.write_text(meta.read_text().replace(old, new))
    for command in (shrink(folder, chain.data), export(folder, chain), ["finetune", folder]):
        where = [] if command[0] != "finetune" else ["--data", chain.data, "--target", chain.target]
        cli.fails(*command, *where, "--out", out, says=(str(weights),), begun=True)
        check_nothing_left(out)
    assert not harm.exists()


@pytest.mark.parametrize("head", [b"\x80", b"PK"])
def test_safetensors_that_begin_like_a_pickle_are_read(
    cli: Cli, data_folder: Path, out: Path, tmp_path: Path, head: bytes
) -> None:
    path, weights = tmp_path / "w.safetensors", micro_weights()
    for padding in range(0, 66_000, 8):
        if padding > 256 and head == b"\x80":
            break
        if padding == 0 or (size + padding).to_bytes(8, "little").startswith(head):
            save_file(weights, path, metadata={"pad": "x" * padding})
            size = int.from_bytes(path.read_bytes()[:8], "little") - padding
            if path.read_bytes().startswith(head):
                break
    assert path.read_bytes().startswith(head)
    cli.works(*with_weights(path, data_folder, out))


def test_data_folder(cli: Cli, data: Path, out: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for where in (tmp_path / "none", tmp_path / "file", tmp_path / "empty", "rotated-digit"):
        for command in (train(where), shrink(MICRO, where)):
            cli.fails(*command, "--out", out, says=(str(where), "domain"))
            check_nothing_left(out)
    one = make_folder(tmp_path / "one", domains=1)
    cli.fails(*train(one, target="domain0"), "--out", out, says=(str(one), "1 domain", "two"))
    (data / "domain1" / "class1").rename(data / "domain1" / "klass1")
    names = ("domain0", "domain1", "class1", "klass1")
    cli.fails(*train(data), "--out", out, says=(str(data), *names))
    check_nothing_left(out)


def test_no_image(cli: Cli, data: Path, out: Path) -> None:
    for path in data.rglob("*.png"):
        path.rename(path.with_suffix(".txt"))
    cli.fails(*train(data), "--out", out, says=(str(data), "no image"), advice=r"\.png")
    check_nothing_left(out)


@pytest.mark.parametrize("damage", ["empty", "text", "torn"])
def test_unreadable_image(cli: Cli, data: Path, out: Path, damage: str) -> None:
    bad = data / "domain0" / "class0" / "1.png"
    whole = bad.read_bytes()
    bad.write_bytes({"empty": b"", "text": b"hello", "torn": whole[: len(whole) // 2]}[damage])
    says = ("1 unreadable", "domain0/class0/1.png", "--skip-bad-images")
    for command in (train(data), shrink(MICRO, data)):
        cli.fails(*command, "--out", out, says=says, begun=True)
        check_nothing_left(out)


def test_unreadable_images_are_counted(cli: Cli, data: Path, out: Path) -> None:
    bad = [data / "domain0" / "class0" / f"{number}.png" for number in range(3)]
    for path in bad:
        path.write_bytes(b"hello")
    line = cli.fails(*train(data), "--out", out, says=("3 unreadable",), begun=True)
    assert [path.name for path in bad if path.name not in line] == []
    path, err = cli.works(*train(data), "--out", out, "--skip-bad-images")
    assert Path(path).is_dir()
    skipped = re.findall(r"skipped (\d+) unreadable", err)
    assert sum(map(int, skipped)) == 3
    assert len(skipped) == 1, "one count for the run, not one for each part of the data"


@pytest.mark.parametrize("wrong", ["domian2", "Domain2", "domain2/"])
def test_target(cli: Cli, chain: TinyChain, out: Path, wrong: str) -> None:
    says = (wrong, "did you mean 'domain2'")
    cli.fails(*train(chain.data, target=wrong), "--out", out, says=says)
    cli.fails(*shrink(chain.dense, chain.data, target=wrong), "--out", out, says=says)
    cli.fails(*evaluate(chain.dense_artefact, chain, out), "--target", wrong, says=says)
    check_nothing_left(out)


@pytest.mark.parametrize("ratio", ["-0.1", "1", "1.5", "nan", "inf", "half"])
def test_ratio(cli: Cli, chain: TinyChain, out: Path, ratio: str) -> None:
    for model in (MICRO, chain.dense):
        command = shrink(model, chain.data, "--ratio", ratio, "--out", out)
        cli.fails(*command, says=("--ratio",), advice="0.5|number")
        check_nothing_left(out)


def writers(chain: TinyChain, recipe: Path) -> list[list[object]]:
    """One command of each kind that takes --out."""
    made = [train(chain.data), shrink(chain.dense, chain.data), export(chain.dense, chain)]
    return [*made, ["report", chain.records], ["run", recipe]]


def quick_recipe(path: Path, data: object, *change: str) -> Path:
    """Writes the quickstart's recipe for other data, with one text of it changed."""
    text = recipe_text("quickstart").replace('"rotated-digits"', json.dumps(str(data)))
    text = text.replace('"rot75"', '"domain2"')
    assert not change or change[0] in text
    path.write_text(text.replace(*change, 1) if change else text)  # type: ignore[call-overload]
    return path


@pytest.mark.parametrize("kind", ["under a file", "a file", "dangling link", "/proc", "too long"])
def test_out_that_cannot_be_written(cli: Cli, chain: TinyChain, tmp_path: Path, kind: str) -> None:
    recipe, file = quick_recipe(tmp_path / "r.toml", chain.data), tmp_path / "file"
    file.write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    target = {
        "under a file": file / "sub" / "out",
        "a file": file,
        "dangling link": tmp_path / "link",
        "/proc": Path("/proc/dgprune"),
        "too long": tmp_path / ("n" * 300),
    }[kind]
    for command in writers(chain, recipe):
        cli.fails(*command, "--out", target, says=(str(target),), begun=True)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link", "r.toml"]
        assert file.read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_out_without_permission(cli: Cli, chain: TinyChain, tmp_path: Path) -> None:
    recipe, locked = quick_recipe(tmp_path / "r.toml", chain.data), tmp_path / "locked"
    locked.mkdir(mode=0o555)
    for command in writers(chain, recipe):
        for target in (locked, locked / "out"):
            cli.fails(*command, "--out", target, says=(str(target),), begun=True)
        assert list(locked.iterdir()) == []


@pytest.mark.parametrize("name", ["thesis.docx", ".git", "finetuned-mine"])
def test_out_that_holds_something_else(
    cli: Cli, chain: TinyChain, out: Path, tmp_path: Path, name: str
) -> None:
    out.mkdir()
    (out / name).write_text("mine")
    for command in writers(chain, quick_recipe(tmp_path / "r.toml", chain.data)):
        cli.fails(*command, "--out", out, says=(str(out),))
        assert [path.name for path in out.iterdir()] == [name]
        assert (out / name).read_text() == "mine"


def test_records_that_cannot_be_written(cli: Cli, chain: TinyChain, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine\n")
    for path in (file / "records.jsonl", tmp_path, Path("/proc/dgprune.jsonl"), file):
        for command in (evaluate, bench):
            made = command(chain.dense_artefact, chain, path)
            cli.fails(*made, says=(str(path),), begun=True, advice=".")
            assert [path.name for path in tmp_path.iterdir()] == ["file"]
            assert file.read_text() == "mine\n"


def test_records_in_a_new_folder(cli: Cli, chain: TinyChain, tmp_path: Path) -> None:
    cli.works(*evaluate(chain.dense_artefact, chain, tmp_path / "new" / "runs" / "r.jsonl"))
