"""Bad input: exit code 2, one line that names what is wrong and what to do, nothing left behind."""

import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dgprune.shipped_recipes import recipe_text
from tests import bad_input_fixtures as given
from tests.bad_input_fixtures import FULL, Cli, bench, evaluate, shrink, train
from tests.conftest import MICRO, TinyChain, make_folder

WRONG_VALUES = {
    "finetune": "--epochs 0 -1 x; --batch-size 0 -1; --lr 0 -1 nan inf; --weight-decay -1 nan; "
    "--warmup-epochs -1 nan; --label-smoothing -0.1 1.5 nan; --distill-weight -0.1 1.1 nan; "
    f"--temperature 0 -1 nan; --augmentation foto; --seed -1 {2**64}; --image-size 0 7 1000000",
    "prune": "--score-images 0 -1; --seed -1; --criterion hesian; --ranking lokal",
    "export": f"--batch 0 -1 x {10**22}; --opset 17 99; --format onxx; --precision fp8; "
    "--parity-images 0 -1; --largest-batch 0",
    "evaluate": "--batch-size 0 -1; --runtime ort tensorrt; --provider gpu",
    "bench": f"--batch 0 x 1,,2 {10**12}; --threads 0 -1 4096; --tier smoek; --seed -1; "
    "--runtime ort torch; --provider gpu",
}


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], chain: TinyChain, tmp_path: Path) -> Cli:
    return Cli(capsys, chain, tmp_path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "photos", images=4)


@pytest.mark.parametrize("command", ["finetune", "prune"])
@pytest.mark.parametrize("says", ["vit_tiny_patch16_22 vit_tiny_patch16_224", "resnet50 vit_"])
def test_model_name(cli: Cli, command: str, says: str) -> None:
    where = ["--weights", "random", "--data", cli.data, "--target", "domain2"]
    cli.refuses(command, says.split()[0], *where, says=tuple(says.split()))


@pytest.mark.parametrize("kind", "gone empty text cut cut-short narrower other-names".split())
def test_weights_missing_or_damaged_or_of_another_model(cli: Cli, kind: str) -> None:
    path = given.save_weights(cli.folder / "w.safetensors", kind)
    says = (str(path), MICRO if kind in ("narrower", "other-names") else "safetensors")
    cli.refuses(*train(cli.data, weights=path), says=says, begun=True)


@pytest.mark.parametrize("name", ["w.pth", "w.bin", "w.safetensors"])
@pytest.mark.parametrize("zipped", [True, False])
def test_pickle(cli: Cli, name: str, zipped: bool) -> None:
    path, harm = cli.folder / name, cli.folder / "harm"
    torch.save({"w": given.Bomb(harm)}, path, _use_new_zipfile_serialization=zipped)
    cli.refuses(*train(cli.data, weights=path), says=(str(path), "pickle", "safetensors"))
    assert not harm.exists()
    with path.open("rb") as file:
        torch.load(file, weights_only=False)
    assert harm.exists(), "the pickle of this test does no harm"


def test_pickle_in_a_checkpoint(cli: Cli) -> None:
    folder, harm = shutil.copytree(cli.chain.dense, cli.folder / "model"), cli.folder / "harm"
    cli.refuses_model(folder, str(given.forge_weights(folder, harm)), begun=True)
    assert not harm.exists()


def test_safetensors_that_begin_like_a_pickle(cli: Cli) -> None:
    path = given.save_weights(cli.folder / "w.safetensors")
    weights, padding = load_file(path), 0
    while not path.read_bytes().startswith(b"\x80"):
        padding += 8
        save_file(weights, path, metadata={"pad": "x" * padding})
    cli.works(*train(cli.data, "--out", cli.out, weights=path))


@pytest.mark.parametrize("name", ["none", "empty", "file", "one"])
def test_data_folder(cli: Cli, name: str) -> None:
    (cli.folder / "empty").mkdir()
    (cli.folder / "file").touch()
    make_folder(cli.folder / "one", domains=1)
    says = (str(cli.folder / name), "1 domain" if name == "one" else "domain")
    cli.refuses(*train(cli.folder / name, target="domain0"), says=says)
    cli.refuses(*shrink(MICRO, cli.folder / name, target="domain0"), says=says)


def test_classes_differ(cli: Cli, photos: Path) -> None:
    (photos / "domain1" / "class1").rename(photos / "domain1" / "klass1")
    cli.refuses(*train(photos), says=(str(photos), "domain0", "domain1", "class1", "klass1"))


def test_no_image(cli: Cli, photos: Path) -> None:
    for path in photos.rglob("*.png"):
        path.rename(path.with_suffix(".txt"))
    cli.refuses(*train(photos), says=(str(photos), "no image"), advice=r"\.png")


@pytest.mark.parametrize("how", ["empty", "text", "cut"])
def test_unreadable_image(cli: Cli, photos: Path, how: str) -> None:
    given.damage(photos / "domain0" / "class0" / "1.png", how)
    says = ("1 unreadable", "domain0/class0/1.png", "--skip-bad-images")
    cli.refuses(*train(photos), says=says, begun=True)
    for number in (0, 2, 3):  # prune scores training images only, and which those are is drawn
        given.damage(photos / "domain0" / "class0" / f"{number}.png", how)
    every = ("unreadable", "domain0/class0", "--skip-bad-images")
    cli.refuses(*shrink(MICRO, photos), "--score-images", "9", says=every, begun=True)


def test_unreadable_images_are_counted(cli: Cli, photos: Path) -> None:
    for number in range(3):
        (photos / "domain0" / "class0" / f"{number}.png").write_bytes(b"hello")
    _, err = cli.works(*train(photos), "--out", cli.out, "--skip-bad-images")
    assert sum(map(int, re.findall(r"skipped (\d+) unreadable", err))) == 3
    shutil.rmtree(cli.out)
    cli.refuses(*train(photos), says=("3 unreadable",), begun=True)


@pytest.mark.parametrize("wrong", ["domian2", "Domain2"])
def test_target(cli: Cli, wrong: str) -> None:
    says = (wrong, "did you mean 'domain2'")
    cli.refuses(*train(cli.data, target=wrong), says=says)
    cli.refuses(*shrink(cli.chain.dense, cli.data, target=wrong), says=says)
    made = evaluate(cli.chain.dense_artefact, cli.chain, cli.out, "--target", wrong)
    cli.fails(*made, says=says)
    assert not cli.out.exists()


@pytest.mark.parametrize("ratio", ["-0.1", "1", "1.5", "nan"])
def test_ratio(cli: Cli, ratio: str) -> None:
    says = ("--ratio", ratio, "[0, 1)")
    cli.refuses(*shrink(MICRO, cli.data, "--ratio", ratio), says=says, advice=r"0\.5")


@pytest.mark.parametrize(
    "wrong",
    [f"{name} {wrong}" for name in WRONG_VALUES for wrong in WRONG_VALUES[name].split("; ")],
)
def test_option_value(cli: Cli, wrong: str, subtests: pytest.Subtests) -> None:
    command, option, *values = wrong.split()
    for value in values:
        with subtests.test(value):
            shutil.rmtree(cli.out, ignore_errors=True)
            cli.fails(*cli.smallest(command), option, value, says=(option,), advice=".")
            given.check_nothing_left(cli.out)


@pytest.mark.parametrize("place", ["file/out", "file", "link", "/proc/x", "n" * 300, "locked/x"])
@pytest.mark.parametrize("command", FULL)
def test_out_cannot_be_written(cli: Cli, command: str, place: str) -> None:
    if "locked" in place and os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    (cli.folder / "locked").mkdir(mode=0o555)
    (cli.folder / "file").write_text("mine")
    (cli.folder / "link").symlink_to("no/where")
    out = cli.folder / place
    cli.fails(*given.smallest(cli.chain, out, cli.folder)[command], says=(str(out),), begun=True)
    assert {path.name for path in cli.folder.iterdir()} == {"file", "link", "locked", "recipe.toml"}
    assert (cli.folder / "file").read_text() == "mine"


@pytest.mark.parametrize("name", ["thesis.docx", "finetuned-mine"])
@pytest.mark.parametrize("command", FULL)
def test_out_holds_something_else(cli: Cli, command: str, name: str) -> None:
    cli.out.mkdir()
    (cli.out / name).write_text("mine")
    cli.fails(*cli.smallest(command), says=(str(cli.out),), begun=command in ("evaluate", "bench"))
    assert [(path.name, path.read_text()) for path in cli.out.iterdir()] == [(name, "mine")]


def test_records_in_a_new_folder(cli: Cli) -> None:
    cli.works(*evaluate(cli.chain.dense_artefact, cli.chain, cli.out / "new" / "r.jsonl"))


@pytest.fixture(scope="session")
def full_disk(chain: TinyChain, tmp_path_factory: pytest.TempPathFactory) -> dict[str, given.End]:
    return given.end_on_full_disk(chain, tmp_path_factory.mktemp("full"))


@pytest.mark.parametrize("name", FULL)
def test_disk_full(cli: Cli, full_disk: dict[str, given.End], name: str) -> None:
    out, code, err = full_disk[name]
    # This writes to TMPDIR, which is as full, before it writes its result.
    scratch = {"evaluate": ("TMPDIR",), "bench": ()}
    where = scratch.get(name, (str(out), "--out"))
    given.check_failure(code, err, "space", *where, begun=True)
    if name in ("evaluate", "bench"):
        assert not out.exists() or out.read_text()[-1:] in ("", "\n")
    else:
        given.check_nothing_left(out)
    assert list((out.parents[1] / "tmp").glob("[!.]*")) == []  # onnxruntime leaves a hidden file
    cli.works(*given.smallest(cli.chain, out, out.parent)[name])


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"schema":3', '"schema":99', "schema 99"),
        ('"batch_size":1', '"batch_size":2', "edited"),
        ("{", "hello {", "not a record"),
        ("{", "[" * 100_000, "not a record"),
    ],
)
def test_damaged_records(cli: Cli, old: str, new: str, says: str) -> None:
    path, text = cli.folder / "records.jsonl", cli.chain.records.read_text()
    where = f"{path}:{text[: text.index(old)].count(chr(10)) + 1}"
    path.write_text(text.replace(old, new, 1))
    before = path.read_bytes()
    cli.fails(*evaluate(cli.chain.pruned_artefact, cli.chain, path), says=(where, says))
    assert path.read_bytes() == before
    cli.refuses("report", path, says=(where, says))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("target =", "taget =", "taget 'target'"),
        ("epochs =", "epoch =", "dense.epoch 'epochs'"),
        ("[recover]", "[recovery]", "recovery 'recover'"),
        ("seed = 0", "", "'seed' missing"),
        ("batch = [1]", "", "'bench.batch' missing"),
        ("epochs = 1", "epochs = ", "TOML line"),
        ("ratios = [0.5]", "ratios = [1.5]", "1.5"),
        ('tier = "smoke"', 'tier = "smoek"', "smoek"),
        ('tier = "smoke"', 'tier = "smoke"\nruntime = "tensorrt"', "tensorrt onnx onnxruntime"),
        ('weights = "random"', 'weights = "randm"', "randm random .safetensors"),
        ("image_size = 32", "image_size = 33", "33 px"),
        ("image_size = 32", "image_size = 0", "image_size 8 2048"),
        ("image_size = 32", "image_size = true", "image_size integer"),
        ('["l1"]', '["fisher"]\nengine = "torch-pruning"', "torch-pruning fisher hessian"),
        ('model = "vit_micro_patch4_32"', '[[model]]\nname = "x"', "plan dgprune sweep"),
    ],
)
def test_recipe(cli: Cli, old: str, new: str, says: str) -> None:
    path = given.write_recipe(cli.folder / "recipe.toml", cli.data, old, new)
    cli.refuses("run", path, says=(str(path), *says.split()), advice=".")


@pytest.mark.parametrize("how", ["flipped", "cut", "gone"])
def test_artefact_is_not_what_its_sidecar_says(cli: Cli, how: str) -> None:
    folder = shutil.copytree(cli.chain.dense_artefact, cli.folder / "artefact")
    given.damage(folder / "model.fp32.onnx", how)
    for command in (evaluate, bench):
        cli.fails(*command(folder, cli.chain, cli.out), says=(str(folder), "artefact.json"))
        assert not cli.out.exists()


@pytest.mark.parametrize("how", ["cut-short", "empty", "flipped", "gone"])
def test_checkpoint_is_torn(cli: Cli, how: str) -> None:
    folder = shutil.copytree(cli.chain.dense, cli.folder / "checkpoint")
    cli.refuses_model(folder, str(given.damage(folder / "weights.safetensors", how)))


@pytest.mark.parametrize("command", FULL)
def test_unknown_and_missing_options(cli: Cli, command: str) -> None:
    needs = {"report": "RECORDS", "run": "RECIPE"}.get(command, "--data")
    cli.fails(command, *(["x"] if needs == "--data" else []), says=("Missing", needs))
    cli.fails(command, "x", "--jsno", says=("--jsno", "--json"))
    cli.fails(command, "x", "--frobnicate", says=("--frobnicate", f"{command} --help"))
    cli.fails(command, "x", "--out" if needs != "--data" else needs, says=("requires an argument",))
    cli.fails(command[:-1] + "z", says=(command[:-1] + "z", "--help"))


def test_a_plan_is_no_recipe_and_a_name_no_file(cli: Cli) -> None:
    plan = cli.folder / "plan.toml"
    plan.write_text(recipe_text("sweep-digits"))
    cli.refuses("run", plan, says=(str(plan), "is a plan", "dgprune sweep"))
    recipe = given.write_recipe(cli.folder / "recipe.toml", cli.data)
    cli.refuses("sweep", recipe, says=(str(recipe), "is a recipe", "dgprune run"))
    cli.refuses("run", "sweep-digits", says=("dgprune recipe sweep-digits", "dgprune sweep"))
    cli.refuses("sweep", "quickstart", says=("dgprune recipe quickstart", "dgprune run"))
    cli.fails("recipe", "sweep-digit", says=("sweep-digits", "sweep-pacs-paper", "quickstart"))


@pytest.mark.parametrize("kind", ["device", "pipe"])
def test_records_that_are_no_regular_file(cli: Cli, kind: str) -> None:
    """A device has no end, and a pipe waits for somebody who writes."""
    path = Path("/dev/zero") if kind == "device" else cli.folder / "pipe"
    if kind == "pipe":
        os.mkfifo(path)
    for command in (evaluate, bench):
        arguments = command(cli.chain.pruned_artefact, cli.chain, path)
        cli.fails(*arguments, says=(str(path), "no regular file"))


@pytest.mark.parametrize("option", ["--temperature 5", "--distill-weight 0.9"])
def test_distillation_without_a_teacher(cli: Cli, option: str) -> None:
    says = (option.split()[0], "without --teacher")
    cli.refuses(*train(cli.data), *option.split(), says=says)
