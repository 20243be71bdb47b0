"""Two protocols that never meet: how images are dealt, what is frozen, and who refuses whom."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgprune import cli
from dgprune.data import leave_one_out, open_data, paper_like
from dgprune.data.split import deal
from dgprune.errors import DgpruneError
from dgprune.inspection import inspect_folder
from dgprune.recipe import read_recipe
from dgprune.records import AccuracyRecord, read_records
from dgprune.schema import encode, seal
from dgprune.shipped_recipes import recipe_text
from tests.bad_input_fixtures import check_failure
from tests.conftest import MICRO, TinyChain, make_folder


def run(*arguments: object) -> Any:
    return cli._step([str(a) for a in arguments], quiet=True)


@dataclass(frozen=True, kw_only=True)
class InDomain:
    """A chain under the paper-like protocol: a model, its file, and their records."""

    data: str
    dense: Path
    artefact: Path
    records: Path


@pytest.fixture(scope="module")
def in_domain(tmp_path_factory: pytest.TempPathFactory) -> InDomain:
    root = tmp_path_factory.mktemp("in-domain")
    data = str(make_folder(root / "noise", images=10))
    where = ("--data", data, "--out", root / "out")
    train = ("--weights", "random", "--epochs", 1, "--batch-size", 8)
    dense = run("finetune", MICRO, *where, *train, "--protocol", "paper-like").path
    artefact = run("export", dense, *where, "--parity-images", 4).path
    records = root / "out" / "records.jsonl"
    run("evaluate", artefact, "--data", data, "--records", records)
    return InDomain(data=data, dense=dense, artefact=artefact, records=records)


def test_paper_like_holds_a_fifth_of_every_domain_and_class_out() -> None:
    data = open_data("rotated-digits")
    split = paper_like(data, seed=1)
    parts = (split.train, split.validation, split.held_out)
    assert sorted(s.key for part in parts for s in part) == sorted(s.key for s in data.samples)
    assert [len(part) / 1797 for part in parts] == pytest.approx([0.64, 0.16, 0.2], abs=0.01)
    groups = Counter((s.domain, s.label) for s in data.samples)
    held_out = Counter((s.domain, s.label) for s in split.held_out)
    assert {key: round(0.2 * count) for key, count in groups.items()} == held_out
    assert split.protocol == "paper-like"


@given(seed=st.integers(0, 2**31))
def test_paper_like_is_a_function_of_the_seed(seed: int) -> None:
    data = open_data("rotated-digits")
    one, other = paper_like(data, seed=seed), paper_like(data, seed=seed + 1)
    assert one == paper_like(data, seed=seed)
    assert one.digest() != other.digest()


def test_no_digest_is_of_both_protocols(data_folder: Path) -> None:
    data = open_data(str(data_folder))
    digests = {leave_one_out(data, domain).digest() for domain in data.domains}
    assert paper_like(data).digest() not in digests


def test_what_was_dealt_before_there_were_two_protocols_is_dealt_the_same() -> None:
    """Digests that published records carry."""
    data = open_data("rotated-digits")
    found = [leave_one_out(data, target, seed=seed).digest()[:12] for target, seed in FROZEN]
    assert found == list(FROZEN.values())


FROZEN = {("rot75", 0): "f01bb772b24d", ("rot75", 3): "d5b4c8b9896b", ("rot00", 0): "0bc29f2e8c85"}


def test_an_origin_is_written_as_it_was_before(chain: TinyChain) -> None:
    origin = inspect_folder(chain.dense)["origin"]
    assert set(origin) == {
        *("model", "data_name", "data_digest", "split_digest", "split_seed", "target"),
        *("classes", "preprocessing"),
    }


def test_a_class_too_small_to_hold_one_out_is_refused(tmp_path: Path) -> None:
    data = open_data(str(make_folder(tmp_path / "few", images=2)))
    with pytest.raises(DgpruneError, match="'domain0' has too few images for that; add"):
        paper_like(data)


def test_a_source_domain_that_selects_nothing_is_refused(tmp_path: Path) -> None:
    """A mean over source domains that leaves one out is no such mean."""
    folder = make_folder(tmp_path / "few")
    for path in sorted((folder / "domain1").rglob("[2-4].png")):
        path.unlink()
    data = open_data(str(folder))
    with pytest.raises(DgpruneError, match="'domain1' has too few images .*three or more"):
        leave_one_out(data, "domain0")
    assert leave_one_out(data, "domain1").validation
    for path in (folder / "domain2").rglob("[34].png"):
        path.unlink()
    with pytest.raises(DgpruneError, match="'domain1' has too few images .*four or more"):
        paper_like(open_data(str(folder)))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--protocol", "paper-like", "--target", "domain1"), ("holds none out", "remove --tar")),
        ((), ("--target is missing", "domain0, domain1, domain2", "--protocol paper-like")),
        (("--protocol", "leave-one-domain-out"), ("--target is missing", "domain0, domain1")),
        (("--protocol", "paperlike"), ("'paperlike'", "did you mean 'paper-like'")),
    ],
)
@pytest.mark.parametrize("command", ["finetune", "prune"])
def test_protocol_and_target_must_go_together(
    chain: TinyChain,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    options: tuple[str, ...],
    says: tuple[str, ...],
) -> None:
    where = ["--data", chain.data, "--weights", "random", "--out", str(tmp_path / "out")]
    code = cli._exit_code([command, MICRO, *where, *options])
    check_failure(code, capsys.readouterr().err, *says)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["finetune", "prune", "evaluate"])
@pytest.mark.parametrize(
    ("made", "options", "says"),
    [
        ("apart", ("--protocol", "paper-like"), "made under --protocol leave-one-domain-out; und"),
        ("apart", (), "--target is missing; the model was made with 'domain2' held out, pass --t"),
        ("apart", ("--target", ""), "--target is missing; the model was made with 'domain2' held"),
        ("in", ("--protocol", "leave-one-domain-out"), "made under --protocol paper-like; under"),
        ("in", ("--target", "domain1"), "has learnt from 'domain1'; remove --target domain1"),
        ("in", ("--protocol", "x"), "must be one of leave-one-domain-out, paper-like"),
    ],
)
def test_a_model_of_the_other_protocol_is_refused(
    chain: TinyChain,
    in_domain: InDomain,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    made: str,
    options: tuple[str, ...],
    says: str,
) -> None:
    model, data = (
        (chain.dense, chain.data) if made == "apart" else (in_domain.dense, in_domain.data)
    )
    into = ["--records" if command == "evaluate" else "--out", str(tmp_path / "out")]
    code = cli._exit_code([command, str(model), "--data", data, *options, *into])
    check_failure(code, capsys.readouterr().err, says)
    assert not (tmp_path / "out").exists()


def test_paper_like_records_are_of_test_images_of_every_domain(in_domain: InDomain) -> None:
    records = [entry.record for entry in read_records(in_domain.records)]
    found: Counter[tuple[str, str]] = Counter()
    for record in records:
        assert isinstance(record, AccuracyRecord)
        assert record.subject.origin.protocol == "paper-like"
        found[record.domain, record.role] = record.images
    domains = ("domain0", "domain1", "domain2")
    assert found == {
        **{(domain, "test"): 4 for domain in domains},
        **{(domain, "source-val"): 4 for domain in domains},
    }


def test_a_checkpoint_knows_its_protocol(in_domain: InDomain, tmp_path: Path) -> None:
    assert inspect_folder(in_domain.dense)["protocol"] == "paper-like"
    assert inspect_folder(in_domain.artefact)["protocol"] == "paper-like"
    assert (
        "20 % of every domain of noise held out" in (in_domain.artefact / "README.md").read_text()
    )
    where = ("--data", in_domain.data, "--out", tmp_path)
    pruned = run("prune", in_domain.dense, *where, "--criterion", "taylor", "--score-images", 4)
    taught = ("--teacher", in_domain.dense, "--epochs", 1)
    healed = run("finetune", pruned.path, *where, *taught).path
    assert inspect_folder(healed)["protocol"] == "paper-like"
    records = tmp_path / "r.jsonl"
    timed = ("--tier", "smoke", "--batch", 1, "--records", records)
    run("bench", in_domain.artefact, "--data", in_domain.data, *timed)
    assert read_records(records)[0].record.subject.origin.protocol == "paper-like"


def test_inspect_prints_the_protocol(
    chain: TinyChain, in_domain: InDomain, capsys: pytest.CaptureFixture[str]
) -> None:
    told = []
    for folder in (chain.dense, in_domain.dense):
        cli._exit_code(["inspect", str(folder)])
        told.append(capsys.readouterr().out)
    assert "leave-one-domain-out" in told[0] and "held out   domain domain2 of noise" in told[0]
    assert "paper-like" in told[1] and "held out   20 % of every domain" in told[1]


def test_a_manifest_names_its_files_and_is_sealed(in_domain: InDomain) -> None:
    (path,) = in_domain.dense.parent.glob("split-*.json")
    value = json.loads(path.read_text())
    split = paper_like(open_data(in_domain.data))
    assert value["protocol"] == "paper-like" and "target" not in value
    assert value["files"] == split.file_digests()
    assert set(value["files"]) == {"train", "validation", "held_out"}
    identity = value.pop("id")
    assert seal(value)["id"] == identity


def move_an_image(value: dict[str, Any]) -> dict[str, Any]:
    value["train"].append(value["target_images"].pop())
    return value


def seal_again(value: dict[str, Any]) -> dict[str, Any]:
    moved = move_an_image(value)
    del moved["id"]
    return seal(moved)


def forget_a_file(value: dict[str, Any]) -> dict[str, Any]:
    value["files"]["held_out"] = "0" * 64
    return value


@pytest.mark.parametrize("edit", [move_an_image, seal_again, forget_a_file])
@pytest.mark.parametrize("command", ["finetune", "prune", "export", "evaluate"])
def test_an_edited_manifest_is_refused(
    chain: TinyChain,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    edit: Any,
    command: str,
) -> None:
    (kept,) = chain.store.glob("split-*.json")
    out = tmp_path / "out"
    out.mkdir()
    (out / "dgprune-store.txt").touch()
    path = out / kept.name
    path.write_text(json.dumps(edit(json.loads(kept.read_text()))))
    target = [] if command == "export" else ["--target", chain.target]
    into = ["--records", str(out / "r.jsonl")] if command == "evaluate" else ["--out", str(out)]
    code = cli._exit_code([command, str(chain.dense), "--data", chain.data, *target, *into])
    says = (str(path), "edited after it was written", "remove it to have it written again")
    check_failure(code, capsys.readouterr().err, *says)
    assert {p.name for p in out.iterdir()} == {"dgprune-store.txt", path.name}


def test_a_manifest_of_before_still_counts_and_is_checked(
    data_folder: Path, tmp_path: Path
) -> None:
    """It was the plain manifest, under the digest alone."""
    split = leave_one_out(open_data(str(data_folder)), "domain2")
    old = tmp_path / f"split-noise-domain2-{split.digest()[:12]}.json"
    old.write_text(json.dumps(split.manifest()))
    split.save(tmp_path)
    split.save(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    old.write_text(json.dumps({**split.manifest(), "target_images": []}))
    with pytest.raises(DgpruneError, match="edited after it was written; restore or remove it"):
        split.require_intact(tmp_path)


def test_a_split_that_is_no_longer_dealt_alike_is_refused(
    chain: TinyChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dgprune.data.split.VALIDATION_SHARE", 0.5)
    with pytest.raises(DgpruneError, match="dealt to other parts than when the model was made"):
        run("evaluate", chain.dense, "--data", chain.data, "--target", chain.target)


def test_deal_takes_leave_one_out_where_nothing_is_said(data_folder: Path) -> None:
    data = open_data(str(data_folder))
    assert deal(data, None, "domain1") == leave_one_out(data, "domain1")
    assert deal(data, "paper-like", None, seed=2) == paper_like(data, seed=2)


@pytest.mark.parametrize("name", ["pacs-paper", "office-home-paper", "quickstart"])
def test_a_recipe_may_name_its_protocol(name: str, tmp_path: Path) -> None:
    text = recipe_text(name)
    lines = text.splitlines()
    plain = [line for line in lines if not line.startswith("protocol")]
    found = read_recipe(_written(tmp_path, plain))
    assert found == read_recipe(_written(tmp_path, lines))
    assert found.where()[-2:] == ("--protocol", "leave-one-domain-out")
    other = [line for line in plain if not line.startswith("target")]
    paper = read_recipe(_written(tmp_path, ['protocol = "paper-like"', *other]))
    assert paper.where() == ("--data", found.data, "--protocol", "paper-like")


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "key 'target' is missing; add it, or protocol = \"paper-like\""),
        (['protocol = "paper-like"', 'target = "x"'], "holds no domain out; remove target = x"),
        (['protocol = "paper-lik"'], "did you mean 'paper-like'"),
    ],
)
def test_a_recipe_of_no_protocol_is_refused(tmp_path: Path, lines: list[str], says: str) -> None:
    text = recipe_text("quickstart").splitlines()
    rest = [line for line in text if not line.startswith(("target", "protocol"))]
    with pytest.raises(DgpruneError, match=says):
        read_recipe(_written(tmp_path, [*lines, *rest]))


def _written(folder: Path, lines: list[str]) -> Path:
    path = folder / "recipe.toml"
    path.write_text("\n".join(lines))
    return path


def test_a_split_is_encoded_as_data(data_folder: Path) -> None:
    manifest = paper_like(open_data(str(data_folder))).manifest()
    assert str(data_folder) not in json.dumps(encode(manifest))
