"""Plans and their cells: what is one cell, what is refused, how long it will take."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dgprune.errors import DgpruneError
from dgprune.shipped_recipes import plan_names, recipe_text
from dgprune.sweep.cells import Cell, cells_of
from dgprune.sweep.estimate import Estimate, duration
from dgprune.sweep.journal import Ended
from dgprune.sweep.plan import Plan, read_plan
from tests.dgprune.sweep.trivial import write_plan


@pytest.fixture
def plan(data_folder: Path, tmp_path: Path) -> Path:
    return write_plan(tmp_path / "plan.toml", data_folder)


def changed(plan: Path, old: str, new: str) -> Path:
    text = plan.read_text()
    assert old in text
    other = plan.with_name("changed.toml")
    other.write_text(text.replace(old, new, 1))
    return other


def read(plan: Path) -> list[Cell]:
    return cells_of(read_plan(plan))


def test_the_grid_is_every_combination_behind_its_dense_model(plan: Path) -> None:
    cells = read(changed(plan, 'rankings = ["global"]', 'rankings = ["global", "local"]'))
    assert len(cells) == 3 * 2 * (1 + 2 * 2)
    ids = [cell.id for cell in cells]
    assert len(set(ids)) == len(ids)
    for number, cell in enumerate(cells):
        assert (cell.parent is None) == (cell.kind == "dense")
        assert cell.parent is None or cell.parent in ids[:number]


@pytest.mark.parametrize("what", ["criteria", "rankings", "ratios"])
def test_an_empty_list_leaves_the_dense_models(plan: Path, what: str) -> None:
    line = next(line for line in plan.read_text().splitlines() if line.startswith(what))
    assert [cell.kind for cell in read(changed(plan, line, f"{what} = []"))] == ["dense"] * 6


def test_pruned_models_need_a_recovery_and_dense_ones_none(plan: Path) -> None:
    text = plan.read_text()
    bare = text[: text.index("[[prune]]")]
    plan.write_text(bare)
    assert [cell.kind for cell in read(plan)] == ["dense"] * 6
    grid = text[text.index("[[prune]]") : text.index("[recover]")]
    plan.write_text(bare + grid)
    with pytest.raises(DgpruneError, match="key 'recover' is missing; pruned models need"):
        read(plan)


def test_a_pruning_has_a_budget_a_recovery_and_a_teacher_of_its_own(plan: Path) -> None:
    text = plan.read_text()
    head, recover, distill = re.split(r"(?=\[recover\])|(?=\[distill\])", text)
    own = recover.replace("[recover]", "[prune.recover]").replace("epochs = 1", "epochs = 3")
    plan.write_text(head.replace("ratios = [0.5]", "macs = [0.4, 0.6]") + own)
    plan.write_text(
        plan.read_text() + "[prune.distill]\nweight = 0.0\ntemperature = 2.0\n" + distill
    )
    pruned = [cell for cell in read(plan) if cell.kind == "pruned"]
    assert len(pruned) == 3 * 2 * 2 * 2
    assert [cell.label for cell in pruned[::2][:2]] == ["l1-global-macs60", "l1-global-macs40"]
    for cell in pruned:
        cut, recovery = cell.stages
        assert cut[cut.index("--macs") + 1] in ("0.6", "0.4") and "--ratio" not in cut
        assert recovery[recovery.index("--epochs") + 1] == "3"
        assert "--teacher" not in recovery
    with pytest.raises(DgpruneError, match="a \\[\\[prune\\]\\] has no budget"):
        read(changed(plan, "macs = [0.4, 0.6]", ""))


def test_what_measures_accuracy_and_parity_may_be_chosen_and_makes_another_cell(plan: Path) -> None:
    before = read(plan)
    assert all(not cell.evaluate and "--parity-images" not in cell.export for cell in before)
    text = plan.read_text()
    plan.write_text(text + '[evaluate]\nruntime = "openvino"\n[export]\nparity_images = 8\n')
    after = read(plan)
    assert {cell.evaluate for cell in after} == {("--runtime", "openvino")}
    assert {cell.export[-2:] for cell in after} == {("--parity-images", "8")}
    assert not {cell.id for cell in before} & {cell.id for cell in after}


def test_a_plan_under_the_paper_like_protocol_holds_no_domain_out(plan: Path) -> None:
    cells = read(changed(plan, 'targets = ["all"]', 'protocol = "paper-like"'))
    assert len(cells) == 2 * (1 + 2)
    assert {cell.where() for cell in cells} == {("--protocol", "paper-like")}
    assert all("32 px, paper-like, seed " in cell.name for cell in cells)
    held_out = read(plan)
    assert held_out[0].where() == ("--target", "domain0")
    assert "32 px, domain0 held out, seed 0" in held_out[0].name
    assert not {cell.id for cell in cells} & {cell.id for cell in held_out}


def test_cells_asked_for_twice_are_one(plan: Path) -> None:
    assert len(read(changed(plan, "seeds = [0, 1]", "seeds = [0, 1, 0]"))) == len(read(plan))


def test_a_cell_is_named_by_all_that_it_depends_on(plan: Path, tmp_path: Path) -> None:
    def ids(old: str, new: str, kind: str) -> set[str]:
        return {cell.id for cell in read(changed(plan, old, new)) if cell.kind == kind}

    same = {kind: ids("", "", kind) for kind in ("dense", "pruned")}
    for old, new in (
        ("image_size = 32", "image_size = 64"),
        ("[dense]\nepochs = 1", "[dense]\nepochs = 2"),
        ("seeds = [0, 1]", "seeds = [2]"),
        ('weights = "random"', 'weights = "pretrained"'),
        ("[distill]", '[export]\nformat = "openvino"\n[distill]'),
    ):
        assert not same["dense"] & ids(old, new, "dense"), new
        assert not same["pruned"] & ids(old, new, "pruned"), new
    for old, new in (
        ("[recover]\nepochs = 1", "[recover]\nepochs = 2"),
        ("weight = 0.5", "weight = 0.0"),
        ("ratios = [0.5]", "ratios = [0.6]"),
        ("score_images = 4", "score_images = 5"),
        ("refit = false", 'refit = false\nengine = "torch-pruning"'),
    ):
        assert same["dense"] == ids(old, new, "dense"), new
        assert not same["pruned"] & ids(old, new, "pruned"), new
    plain, careful = read_plan(plan), cells_of(read_plan(plan), skip_bad_images=True)
    assert not {cell.id for cell in cells_of(plain)} & {cell.id for cell in careful}


def test_weights_count_by_their_bytes_and_not_by_their_path(plan: Path, tmp_path: Path) -> None:
    found = []
    for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / f"{name}.safetensors").write_bytes(content)
        file = changed(plan, '"random"', f'"{tmp_path / name}.safetensors"')
        found.append([cell.id for cell in read(file)])
    assert found[0] == found[1]
    assert not set(found[0]) & set(found[2])


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("targets =", "taget =", "taget 'targets'"),
        ("rankings =", "ranking =", "prune.0.ranking 'rankings'"),
        ("[recover]\nepochs", "[recover]\nepoch", "recover.epoch 'epochs'"),
        ("name =", "nam =", "model.0.nam 'name'"),
        ("[distill]", '[export]\nform = "onnx"\n[distill]', "export.form 'format'"),
        ("[distill]", '[export]\nformat = "onxx"\n[distill]', "export.format 'onnx'"),
        ("refit = false", 'refit = true\nengine = "torch-pruning"', "refit = false"),
        ("seeds = [0, 1]", "seeds = []", "seeds empty"),
        ("seeds = [0, 1]", "seeds = [true]", "seeds.0 integer"),
        ("seeds = [0, 1]", "seeds = 0", "seeds list, such as [1]"),
        ("refit = false", 'refit = "off"', "prune.0.refit boolean"),
        ("[distill]", "[export]\nparity_images = 0\n[distill]", "export.parity_images 1"),
        ("[distill]", "[export]\nparity_images = -5\n[distill]", "export.parity_images 1"),
        ('["all"]', '["all", "domain1"]', "targets"),
        ('targets = ["all"]', "", "key 'targets' is missing; add it, or protocol"),
        ("seeds =", 'protocol = "paper-like"\nseeds =', "remove targets = all"),
        ("seeds =", 'protocol = "paper"\nseeds =', "did you mean 'paper-like'"),
        ("epochs = 1", "epochs = ", "TOML line"),
    ],
)
def test_what_is_wrong_in_a_plan_is_named(plan: Path, old: str, new: str, says: str) -> None:
    file = changed(plan, old, new)
    with pytest.raises(DgpruneError) as error:
        read(file)
    assert [text for text in (str(file), *says.split()) if text not in str(error.value)] == []


def test_a_domain_that_the_data_lacks_is_named(plan: Path) -> None:
    with pytest.raises(DgpruneError, match="'domian1'.*did you mean 'domain1'"):
        read(changed(plan, '["all"]', '["domian1"]'))


@pytest.mark.parametrize("name", plan_names())
def test_plans_that_come_along_parse(name: str, tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(recipe_text(name))
    plan: Plan = read_plan(tmp_path / "plan.toml")
    assert plan.recipes()


def test_the_plan_of_digits_is_the_whole_grid(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(recipe_text("sweep-digits"))
    kinds = [cell.kind for cell in read(tmp_path / "plan.toml")]
    assert (kinds.count("dense"), kinds.count("pruned")) == (6 * 2, 5 * 3 * 2 * 6 * 2)


def test_the_estimate_uses_whole_cells_of_the_same_kind(plan: Path) -> None:
    cells = read(plan)
    estimate = Estimate()
    for cell in cells:
        estimate.add(cell)
    assert estimate.remaining(2) == (0.0, 18)

    def ended(cell: Cell, seconds: float, *, whole: bool = True, training: str = "") -> Ended:
        return Ended(
            cell=cell.id,
            kind=cell.kind,
            model=cell.model,
            name=cell.name,
            training=training or cell.training,
            state="done",
            seconds=seconds,
            whole=whole,
            where="here:1",
        )

    estimate.measured([ended(cells[0], 10, whole=True), ended(cells[0], 0.1, whole=False)])
    assert estimate.remaining(2) == (6 * 10 / 2, 12)
    estimate.measured([ended(cells[1], 4, whole=True), ended(cells[2], 8, whole=True)])
    assert estimate.remaining(2) == ((6 * 10 + 12 * 6) / 2, 0)
    estimate.measured([ended(cells[1], 1000, training="300 epochs")])
    assert estimate.remaining(2) == ((6 * 10 + 12 * 6) / 2, 0)
    for cell in cells[1:]:
        estimate.add(cell, -1)
    assert estimate.remaining(8) == (10, 0)  # one cell is not shared


def test_what_trains_longer_is_estimated_apart(plan: Path) -> None:
    cells = read(plan)
    assert len({cell.training for cell in cells}) == 2  # of dense cells, and of pruned ones
    for old, new in (
        ("[recover]\nepochs = 1", "[recover]\nepochs = 300"),
        ("refit = false", "refit = false\nsteps = 2\nstep_epochs = 9"),
    ):
        longer = read(changed(plan, old, new))
        assert longer[0].training == cells[0].training
        assert {cell.training for cell in longer[1:3]}.isdisjoint({cells[1].training})


def test_weights_count_by_their_bytes_whatever_they_are_called(plan: Path) -> None:
    file = plan.with_name("weights.st")
    plan.write_text(plan.read_text().replace('weights = "random"', f'weights = "{file}"'))
    save_file({"w": torch.zeros(1)}, file)
    before = [cell.id for cell in read(plan)]
    save_file({"w": torch.ones(1)}, file)
    assert not {cell.id for cell in read(plan)} & set(before)
    save_file({"w": torch.zeros(1)}, file)
    assert [cell.id for cell in read(plan)] == before


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3, "3 s"), (720, "12 min"), (11_100, "3 h 5 min"), (187_200, "2 d 4 h")],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text
