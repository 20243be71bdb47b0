"""The leak guard: a held-out image is planted wherever none may be seen, and each is refused."""

import os
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dgprune.source
from benchmark.accuracy import EvaluateSpec, evaluate
from benchmark.cells import LatencySpec
from benchmark.latency import bench
from benchmark.profile import profile
from dgprune import cli
from dgprune.checkpoint import open_checkpoint
from dgprune.data import DataSet, Purpose, Sample, Split, leave_one_out, open_data, paper_like
from dgprune.data.images import Loading, load_images
from dgprune.data.leaks import copies, without_leaks
from dgprune.errors import DgpruneError, LeakError
from dgprune.lineage import chosen_by_oracle
from dgprune.models import bare_model, preprocessing_of
from dgprune.progress import Silent
from dgprune.records import AccuracyRecord, read_records
from dgprune.source import SourceSpec, open_source
from export.export_checkpoint import export
from export.spec import ExportSpec
from pruning.finetune_checkpoint import FinetuneSpec, finetune
from pruning.iterative import StepsSpec, prune_in_steps
from pruning.prune_checkpoint import prune
from pruning.shipped import Aim
from pruning.spec import PruneSpec
from pruning.speedup import prune_to_speedup
from pruning.training_spec import TrainSpec
from tests.bad_input_fixtures import check_nothing_left
from tests.conftest import MICRO, TinyChain, make_folder

SHORT = TrainSpec(epochs=1, batch_size=8, augmentation="none")
Step = Callable[[TinyChain, Path], object]


class Planted(Split):
    """A split that claims to be the honest one and is not."""

    def digest(self) -> str:
        return leave_one_out_digest[self.target]


leave_one_out_digest: dict[str, str] = {}


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes every split carry a held-out image in `part`, which the rest cannot see."""

    def into(part: str) -> None:
        def dealt(data: DataSet, target: str, *, seed: int = 0) -> Split:
            honest = leave_one_out(data, target, seed=seed)
            leave_one_out_digest[target] = honest.digest()
            parts = {field.name: getattr(honest, field.name) for field in fields(honest)}
            image = honest.held_out[0]  # as it is, and under the name of a source
            parts[part] = (image, replace(image, domain="domain0"), *parts[part])
            return Planted(**parts)

        monkeypatch.setattr(dgprune.source, "leave_one_out", dealt)

    return into


def source(chain: TinyChain, model: Path | None = None) -> SourceSpec:
    return SourceSpec(model=str(model or chain.dense), data=chain.data, target=chain.target)


def training(chain: TinyChain, out: Path, teacher: Path | None = None) -> object:
    told = str(teacher) if teacher else None
    return finetune(FinetuneSpec(source=source(chain), train=SHORT, teacher=told), out)


def taught(chain: TinyChain, out: Path) -> object:
    return training(chain, out, chain.dense)


def scored(criterion: str, engine: str = "dgprune") -> Step:
    spec = PruneSpec(criterion=criterion, engine=engine, refit=False, ranking="global")  # type: ignore[arg-type]
    return lambda chain, out: prune(source(chain), spec, out)


def refitted(chain: TinyChain, out: Path) -> object:
    return prune(source(chain), PruneSpec(criterion="l1", refit=True, ranking="global"), out)


def in_steps(chain: TinyChain, out: Path) -> object:
    spec = PruneSpec(criterion="l2", refit=False, ranking="global")
    return prune_in_steps(source(chain), spec, StepsSpec(steps=2, train=SHORT), out)


def to_speedup(criterion: str) -> Step:
    def search(chain: TinyChain, out: Path) -> object:
        spec = PruneSpec(criterion=criterion, refit=False, ranking="global")  # type: ignore[arg-type]
        step = lambda arguments: cli._step(arguments, quiet=True)  # noqa: E731
        return prune_to_speedup(source(chain), spec, Aim(speedup=1.5), out, step)

    return search


def exported(precision: str) -> Step:
    def ship(chain: TinyChain, out: Path) -> object:
        spec = ExportSpec(checkpoint=str(chain.pruned), data=chain.data, precision=precision)  # type: ignore[arg-type]
        return export(spec, out)

    return ship


def timed(chain: TinyChain, out: Path) -> object:
    spec = LatencySpec(artefact=str(chain.pruned_artefact), data=chain.data, tier="smoke")
    return bench(spec, out / "r.jsonl")


def profiled(chain: TinyChain, out: Path) -> object:
    spec = LatencySpec(
        artefact=str(chain.pruned_artefact), data=chain.data, batch_sizes=(1,), tier="smoke"
    )
    return profile(spec, out / "r.jsonl")


PLACES: dict[str, tuple[str, Step, str]] = {
    "training": ("train", training, "training"),
    "distillation": ("train", taught, "training"),
    "selection and early stop": ("validation", training, "model selection"),
    "training between steps": ("train", in_steps, "training"),
    "selection between steps": ("validation", in_steps, "model selection"),
    "scores of fisher": ("train", scored("fisher"), "importance scores"),
    "scores of hessian": ("train", scored("hessian"), "importance scores"),
    "scores of taylor": ("train", scored("taylor"), "importance scores"),
    "torch-pruning": ("train", scored("taylor", "torch-pruning"), "importance scores"),
    "refit": ("train", refitted, "the refit"),
    "scores of a speedup": ("train", to_speedup("taylor"), "importance scores"),
    "files of a speedup": ("validation", to_speedup("l1"), "parity"),
    "int8": ("train", exported("int8"), "calibration"),
    "ranges of fp16": ("train", exported("fp16"), "calibration"),
    "parity": ("validation", exported("fp32"), "parity"),
    "timing": ("validation", timed, "timing"),
    "profile": ("validation", profiled, "timing"),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_held_out_image_is_refused_in_every_place(
    chain: TinyChain,
    tmp_path: Path,
    plant: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    part, step, purpose = PLACES[place]
    monkeypatch.setenv("DGPRUNE_CACHE", str(tmp_path / "cache"))
    plant(part)
    refused = (
        rf"domain2/class0/0\.png is of the held-out domain 'domain2'; {purpose} may use source"
    )
    with pytest.raises(LeakError, match=refused):
        step(chain, tmp_path / "out")
    made = [path.name for path in (tmp_path / "out").rglob("*") if path.is_dir()]
    assert not [name for name in made if not name.startswith("pruned-l2-50-step1of2")]


def test_the_chain_never_reads_a_pixel_of_what_is_held_out(tmp_path: Path) -> None:
    """Every held-out image is made unreadable: only reporting stumbles over it."""
    folder = make_folder(tmp_path / "data")
    for path in (folder / "domain2").rglob("*.png"):
        path.write_bytes(b"no image: " + os.urandom(50))
    data, out = str(folder), tmp_path / "out"
    made = SourceSpec(model=MICRO, weights="random", data=data, target="domain2")
    dense = finetune(FinetuneSpec(source=made, train=SHORT), out).path
    pruned = prune(
        replace(made, model=str(dense), weights=None),
        PruneSpec(refit=True, criterion="hessian", ranking="global"),
        out,
    ).path
    again = replace(made, model=str(pruned), weights=None)
    healed = finetune(FinetuneSpec(source=again, train=SHORT, teacher=str(dense)), out).path
    asked = ExportSpec(checkpoint=str(healed), data=data, precision="int8")
    artefact = export(asked, out).path
    timed = LatencySpec(artefact=str(artefact), data=data, batch_sizes=(1,), tier="smoke")
    bench(timed, out / "r.jsonl")
    told = EvaluateSpec(subject=str(artefact), data=data, target="domain2")
    with pytest.raises(DgpruneError, match="10 unreadable"):
        evaluate(told, out / "r.jsonl")


def test_normalisation_is_the_models_own_whatever_the_images(tmp_path: Path) -> None:
    bright = make_folder(tmp_path / "bright")
    for path in (bright / "domain2").rglob("*.png"):
        Image.new("RGB", (32, 32), "white").save(path)
    own = preprocessing_of(bare_model(MICRO), 32)
    for target in ("domain0", "domain2"):
        spec = SourceSpec(model=MICRO, weights="random", data=str(bright), target=target)
        assert open_source(spec).origin.preprocessing == own


def loading(split: Split, **more: bool) -> Loading:
    return Loading(split=split, **more)  # type: ignore[arg-type]


GUARDED = [p for p in Purpose if p is not Purpose.REPORT]


@pytest.mark.parametrize("purpose", GUARDED)
def test_a_held_out_image_under_another_domains_name_is_refused(
    data_folder: Path, purpose: Purpose
) -> None:
    split = leave_one_out(open_data(str(data_folder)), "domain2")
    forged = replace(split.held_out[0], domain="domain0")
    with pytest.raises(LeakError, match=f"held-out domain 'domain2'; {purpose.value} may use"):
        without_leaks([*split.train, forged], purpose, loading(split))


@pytest.mark.parametrize("purpose", GUARDED)
def test_a_test_image_of_the_paper_like_split_is_refused(
    data_folder: Path, purpose: Purpose
) -> None:
    split = paper_like(open_data(str(data_folder)))
    told = f"is a held-out test image of domain 'domain0'; {purpose.value} may use training"
    with pytest.raises(LeakError, match=told):
        without_leaks([*split.train, split.held_out[0]], purpose, loading(split))
    assert without_leaks(split.train, purpose, loading(split)) == split.train


def test_only_a_training_that_asked_for_an_oracle_may_have_one(data_folder: Path) -> None:
    split = leave_one_out(open_data(str(data_folder)), "domain2")
    with pytest.raises(LeakError, match="oracle selection may use source domains only"):
        without_leaks(split.held_out, Purpose.ORACLE, loading(split))
    asked = loading(split, oracle=True)
    assert without_leaks(split.held_out, Purpose.ORACLE, asked) == split.held_out
    for purpose in (Purpose.TRAIN, Purpose.SELECT, Purpose.CALIBRATE):
        with pytest.raises(LeakError, match=purpose.value):
            without_leaks(split.held_out, purpose, asked)


def copied(folder: Path, how: str) -> tuple[str, str]:
    """Files a held-out image under a source domain; the two keys, copy first."""
    image, new = folder / "domain2" / "class1" / "3.png", folder / "domain0" / "class1" / "z.png"
    if how == "copy":
        shutil.copy(image, new)
    elif how == "hard link":
        os.link(image, new)
    elif how == "link":
        new.symlink_to("../../domain2/class1/3.png")
    else:  # a link to the folder
        shutil.rmtree(new.parent)
        new.parent.symlink_to("../domain2/class1")
        return "domain0/class1/0.png", "domain2/class1/0.png"
    return "domain0/class1/z.png", "domain2/class1/3.png"


@pytest.mark.parametrize("how", ["copy", "hard link", "link", "linked folder"])
def test_a_copy_of_a_held_out_image_among_the_sources_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    folder = make_folder(tmp_path / "data")
    copy, image = copied(folder, how)
    out = tmp_path / "out"
    command = ["finetune", MICRO, "--weights", "random", "--data", str(folder), "--epochs", "1"]
    command += ["--target", "domain2", "--out", str(out)]
    assert cli._exit_code(command) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error")]
    kind = "byte for byte" if how == "copy" else "a link to"
    assert f"{copy} is {kind} the held-out image {image}" in line
    assert "remove the copies, or pass --skip-bad-images" in line
    check_nothing_left(out)
    assert cli._exit_code([*command, "--skip-bad-images"]) == 0
    assert f"left out {5 if how == 'linked folder' else 1} of" in _left_out(capsys, how)


def _left_out(capsys: pytest.CaptureFixture[str], how: str) -> str:
    """What was left out, over the two parts that are loaded."""
    lines = [line for line in capsys.readouterr().err.splitlines() if "left out" in line]
    counts = [int(line.split("left out ")[1].split()[0]) for line in lines]
    return f"left out {sum(counts)} of"


def test_skipping_leaves_exactly_the_copies_out(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data")
    copy, _ = copied(folder, "copy")
    split = leave_one_out(open_data(str(folder)), "domain2")
    used = [*split.train, *split.validation]
    kept = without_leaks(used, Purpose.TRAIN, loading(split, skip_bad_images=True))
    assert {s.key for s in used} - {s.key for s in kept} == {copy}
    assert list(without_leaks(used, Purpose.REPORT, loading(split))) == used


def test_a_copy_has_no_part_in_source_accuracy_or_temperature(
    chain: TinyChain, tmp_path: Path
) -> None:
    """`evaluate` fits on the validation images what selection left out of them."""
    folder = tmp_path / Path(chain.data).name
    shutil.copytree(chain.data, folder)
    split = leave_one_out(open_data(str(folder)), chain.target)
    copied_to = next(s for s in split.validation if s.domain == "domain0")
    held_out = folder / chain.target / "class0" / "0.png"
    (folder / copied_to.key).write_bytes(held_out.read_bytes())
    source = replace(source_of(folder, chain), skip_bad_images=True)
    model = finetune(FinetuneSpec(source=source, train=SHORT), tmp_path / "out").path
    artefact = export(
        ExportSpec(checkpoint=str(model), data=str(folder), skip_bad_images=True), tmp_path / "out"
    ).path
    asked = EvaluateSpec(subject=str(artefact), data=str(folder), target=chain.target)
    with pytest.raises(LeakError, match="calibration may not see it"):
        evaluate(asked, tmp_path / "r.jsonl")
    evaluate(replace(asked, skip_bad_images=True), tmp_path / "r.jsonl")
    found = {(r.domain, r.role): r for r in accuracies(tmp_path / "r.jsonl")}
    whole = sum(sample.domain == "domain0" for sample in split.validation)
    part = found["domain0", "source-val"]
    assert (part.images, part.skipped) == (whole - 1, 1)
    assert found[chain.target, "target"].skipped == 0


def source_of(folder: Path, chain: TinyChain) -> SourceSpec:
    return SourceSpec(model=MICRO, weights="random", data=str(folder), target=chain.target)


def accuracies(records: Path) -> list[AccuracyRecord]:
    found = [entry.record for entry in read_records(records)]
    return [record for record in found if isinstance(record, AccuracyRecord)]


def test_files_that_only_look_alike_are_no_copies(tmp_path: Path) -> None:
    """Bitmaps are all of one size, and drawings on white are equal in the middle."""
    folder = tmp_path / "data"
    rng = np.random.default_rng(0)
    for domain in ("a", "b"):
        for label in ("x", "y"):
            (folder / domain / label).mkdir(parents=True)
            for number in range(4):
                pixels = np.full((64, 64, 3), 255, np.uint8)
                pixels[0] = rng.integers(0, 255, (64, 3))
                Image.fromarray(pixels).save(folder / domain / label / f"{number}.bmp")
    split = leave_one_out(open_data(str(folder)), "b")
    assert list(copies(split.train, split)) == []
    shutil.copy(folder / "b" / "y" / "2.bmp", folder / "a" / "x" / "0.bmp")
    (found,) = copies([Sample(domain="a", label=0, key="a/x/0.bmp")], split)
    assert (found.held_out.key, found.is_link) == ("b/y/2.bmp", False)


def test_data_that_is_no_folder_has_no_files_to_compare() -> None:
    split = leave_one_out(open_data("rotated-digits"), "rot75")
    assert list(copies(split.train, split)) == []


def test_an_image_that_was_copied_into_the_test_part_is_found_in_its_own_domain(
    tmp_path: Path,
) -> None:
    folder = make_folder(tmp_path / "data")
    split = paper_like(open_data(str(folder)))
    seen, held = split.train[0], next(s for s in split.held_out if s.domain == "domain0")
    shutil.copy(folder / held.key, folder / seen.key)
    with pytest.raises(LeakError, match=f"{seen.key} is byte for byte the held-out image"):
        without_leaks(split.train, Purpose.TRAIN, loading(split))


def test_the_guard_stands_in_the_loader(data_folder: Path) -> None:
    data = open_data(str(data_folder))
    split = leave_one_out(data, "domain2")
    preprocessing = preprocessing_of(bare_model(MICRO), 32)
    with pytest.raises(LeakError, match="timing"):
        load_images(
            data,
            split.held_out,
            preprocessing,
            purpose=Purpose.TIME,
            loading=Loading(split=split, progress=Silent()),
        )


@pytest.mark.parametrize("step", ["prune", "finetune", "evaluate"])
def test_a_checkpoint_of_another_target_is_refused(
    chain: TinyChain, tmp_path: Path, capsys: pytest.CaptureFixture[str], step: str
) -> None:
    where = ["--data", chain.data, "--target", "domain0"]
    into = ["--records" if step == "evaluate" else "--out", str(tmp_path / "out")]
    assert cli._exit_code([step, str(chain.dense), *where, *into]) == 2
    told = "made with 'domain2' held out, so 'domain0' is not unseen; pass --target domain2"
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_teacher_that_has_seen_the_target_is_refused(chain: TinyChain, tmp_path: Path) -> None:
    seen = SourceSpec(model=MICRO, weights="random", data=chain.data, protocol="paper-like")
    teacher = finetune(FinetuneSpec(source=seen, train=SHORT), tmp_path / "seen").path
    with pytest.raises(LeakError, match=r"made without 20 % of every domain.* has seen what the"):
        training(chain, tmp_path / "out", teacher)
    other = SourceSpec(model=MICRO, weights="random", data=chain.data, target="domain0")
    spec = FinetuneSpec(source=other, train=SHORT, teacher=str(chain.dense))
    with pytest.raises(LeakError, match="made without domain domain2 and has seen what"):
        finetune(spec, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_teacher_that_an_oracle_chose_leaves_its_mark(
    chain: TinyChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pruning.finetune_checkpoint.chosen_by_oracle", lambda lineage: True)
    spec = FinetuneSpec(source=source(chain), train=SHORT, teacher=str(chain.dense))
    lineage = open_checkpoint(finetune(spec, tmp_path / "out").path).meta.lineage
    assert lineage[-1].spec["teacher_selection"] == "oracle"
    assert chosen_by_oracle(lineage)


@pytest.mark.shared
def test_pacs_has_no_copies_across_domains() -> None:
    """What the guard refuses, the real data does not hold."""
    folder = Path(__file__).parents[3] / "shared" / "data" / "pacs"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data/pacs")
    data = open_data(str(folder))
    for target in data.domains:
        split = leave_one_out(data, target)
        assert list(copies([*split.train, *split.validation], split)) == []
