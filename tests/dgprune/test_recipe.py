"""Recipes: every option of a training has a key, and what is given reaches the command."""

import dataclasses
import inspect
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmark.cli import check_recipe as check_measured
from dgprune.chain import distillation_options, pruning_options, run_chain, training_options
from dgprune.errors import DgpruneError
from dgprune.lineage import LineageStep
from dgprune.progress import SILENT
from dgprune.recipe import Recipe, named_recipe, read_recipe
from dgprune.recipe_parts import DistillRecipe, ExportRecipe, PlannedBudget, TrainRecipe
from dgprune.shipped_recipes import plan_names, recipe_names, recipe_text
from dgprune.stage import Done
from dgprune.sweep.plan import read_plan
from pruning.cli import check_recipe, finetune
from pruning.recipe_check import cut_of
from pruning.training_spec import TrainSpec
from reports.paper_layout import _is_of_paper
from reports.published_pruning import CRITERIA, RATIOS

HALF = PlannedBudget("ratio", 0.5)


def test_options_of_training_that_may_be_left_out_are_handed_on() -> None:
    recipe = named_recipe("quickstart")
    plain = training_options(recipe.dense)
    assert "--averaging" not in plain and "--domain-balanced" not in plain
    more = dataclasses.replace(recipe.dense, averaging="swad", coral=0.5, domain_balanced=True)
    assert training_options(more) == (
        *plain,
        *("--averaging", "swad", "--coral", "0.5", "--domain-balanced"),
    )


def test_a_teacher_is_asked_for_outputs_or_features() -> None:
    distill = dataclasses.replace(named_recipe("quickstart").distill, weight=0.0)
    assert not distill.teaches
    followed = dataclasses.replace(distill, features=2.0)
    assert followed.teaches
    assert distillation_options(followed)[-2:] == ("--feature-weight", "2.0")


def test_every_option_of_training_has_a_key_with_the_same_default() -> None:
    options = inspect.signature(finetune).parameters
    keys = {field.name: field.default for field in dataclasses.fields(TrainRecipe)}
    spec = {field.name: field.default for field in dataclasses.fields(TrainSpec)}
    renamed = {"learning_rate": "lr"}
    elsewhere = {"distill_weight", "temperature", "feature_weight", "feature_blocks", "seed"}
    for name, default in spec.items():
        option = renamed.get(name, name)
        wanted = None if name in ("distill_weight", "temperature") else default  # a teacher's
        assert options[option].default == wanted
        if name not in elsewhere:
            assert keys[option] in (dataclasses.MISSING, default)


def test_keys_of_a_pruning_that_may_be_left_out_are_handed_on() -> None:
    entry = named_recipe("quickstart").prune[0]
    plain = pruning_options(entry, "l1", HALF)
    assert plain == (
        *("--criterion", "l1", "--ranking", "global", "--ratio", "0.5"),
        *("--score-images", "256", "--no-refit"),
    )
    more = dataclasses.replace(entry, engine="torch-pruning", floor="width=8", align="mlp=4")
    assert pruning_options(more, "l1", HALF) == (
        *plain,
        *("--engine", "torch-pruning", "--floor", "width=8", "--align", "mlp=4"),
    )
    slow = dataclasses.replace(entry, steps=3, step_epochs=2, augmentation="glyph")
    assert pruning_options(slow, "l1", HALF) == (
        *plain,
        *("--steps", "3", "--step-epochs", "2", "--augmentation", "glyph"),
    )
    taught = DistillRecipe(weight=0.9, temperature=2.0, features=20.0, feature_blocks=4)
    followed = dataclasses.replace(slow, step_precision="bf16", step_distill=taught)
    assert pruning_options(followed, "l1", HALF) == (
        *pruning_options(slow, "l1", HALF),
        *("--step-precision", "bf16", "--step-distill-weight", "0.9", "--step-temperature", "2.0"),
        *("--step-feature-weight", "20.0", "--step-feature-blocks", "4"),
    )


def test_steps_of_a_recipe_are_checked_before_any_work() -> None:
    recipe = named_recipe("quickstart")
    good = dataclasses.replace(recipe.prune[0], steps=2, step_epochs=1)
    check_recipe(dataclasses.replace(recipe, prune=(good,)))
    many = DistillRecipe(weight=0.5, temperature=3.0, features=1.0, feature_blocks=99)
    for wrong, said in (
        ({"steps": 0}, "steps"),
        ({"steps": 1}, "--step-epochs"),
        ({"schedule": "square"}, "square"),
        ({"augmentation": "none of these"}, "none of these"),
        ({"step_precision": "fp8"}, "--step-precision 'fp8'"),
        ({"step_distill": DistillRecipe(weight=2.0, temperature=3.0)}, "--step-distill-weight 2.0"),
        ({"step_distill": many}, "--step-feature-blocks 99, but the model has"),
    ):
        entry = dataclasses.replace(good, **wrong)
        with pytest.raises(DgpruneError, match=said):
            check_recipe(dataclasses.replace(recipe, prune=(entry,)))


def test_a_cut_that_the_floors_forbid_is_refused_before_any_work() -> None:
    recipe = named_recipe("quickstart")
    entry = dataclasses.replace(recipe.prune[0], ranking="isomorphic", ratios=(0.95,))
    check_recipe(recipe)
    with pytest.raises(DgpruneError, match="hessian-isomorphic-95 of vit_micro.*the floors keep"):
        check_recipe(dataclasses.replace(recipe, prune=(entry,)))
    lower = dataclasses.replace(entry, floor="width=4,heads=1,head_dim=4,mlp=4")
    check_recipe(dataclasses.replace(recipe, prune=(lower,)))


@pytest.mark.parametrize("name", plan_names())
def test_every_cell_of_a_plan_that_comes_along_can_be_made(name: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(recipe_text(name))
    for recipe in read_plan(path).recipes():
        check_recipe(recipe)


@pytest.mark.parametrize("name", [n for n in recipe_names() + plan_names() if n.endswith("paper")])
def test_what_stands_for_the_paper_fills_the_layout_of_the_paper(name: str, tmp_path: Path) -> None:
    path = tmp_path / "some.toml"
    path.write_text(recipe_text(name))
    for recipe in read_plan(path).recipes() if name in plan_names() else [read_recipe(path)]:
        asked = {(criterion, budget.value) for _, criterion, budget in recipe.cells()}
        assert asked == {(criterion, ratio) for criterion in CRITERIA for ratio in RATIOS}
        for cell in recipe.cells():
            step = LineageStep(stage="prune", digest="", spec=cut_of(cell).asked())
            row: Any = SimpleNamespace(subject=SimpleNamespace(lineage=(step,)))
            assert _is_of_paper(row)
            assert "refit" not in step.spec


def test_the_best_recipe_is_the_method_that_was_measured(tmp_path: Path) -> None:
    """Half of the work in three steps, int8 on top; only the training is not bound to bf16."""
    published = read_plan(Path("reports/published/half-in-steps-three-seeds/plan.toml"))
    recipe = named_recipe("pacs-best")
    (mine,), (theirs,) = recipe.prune, published.prune
    same: dict[str, Any] = {"step_precision": None}
    assert mine == dataclasses.replace(theirs.under("isomorphic"), **same)
    for own, other in ((recipe.dense, published.dense), (recipe.recover, published.recovery)):
        assert own == dataclasses.replace(other, precision="auto")
    assert recipe.distill == published.distill
    assert recipe.export.files() == (("onnx", "fp32"), ("onnx", "int8"))


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ('precision = ["int8"]', "export.precision.*precisions"),
        ('precisions = ["int4"]', "export.precisions 'int4' must be one of"),
        ('formats = ["onxx"]', "export.formats 'onxx'.*did you mean 'onnx'"),
        ("formats = []", "export.formats must name one or more"),
        ('precisions = ["fp32", "fp32"]', "export.precisions must name one .* each once"),
        ("parity_images = 0", "export.parity_images 0"),
    ],
)
def test_files_that_export_would_not_make_are_refused(
    tmp_path: Path, section: str, says: str
) -> None:
    with pytest.raises(DgpruneError, match=says):
        changed(tmp_path, "quickstart", "[bench]", f"[export]\n{section}\n\n[bench]")


def steps_of(recipe: Recipe, folder: Path) -> list[tuple[str, ...]]:
    """The commands of a recipe whose stages only name what they would have made."""
    heard: list[tuple[str, ...]] = []

    def made(step: tuple[str, ...]) -> str:
        if step[0] == "finetune":
            return "dense" if step[1] == recipe.model else "pruned"
        return ".".join((step[1], step[-3], step[-1])) if step[0] == "export" else step[0]

    def invoke(arguments: Sequence[str]) -> Done:
        heard.append(tuple(arguments))
        return Done(path=Path(made(heard[-1])), fresh=False)

    run_chain(recipe, folder, invoke, SILENT)
    return heard


def test_every_file_of_a_recipe_is_exported_evaluated_and_timed(tmp_path: Path) -> None:
    export = ExportRecipe(formats=("onnx", "openvino"), precisions=("fp32", "int8"))
    recipe = dataclasses.replace(named_recipe("pacs-best"), export=export)
    steps = steps_of(recipe, tmp_path)
    models = ("dense", "pruned")
    files = [f"{m}.{f}.{p}" for m in models for f in export.formats for p in export.precisions]
    assert [step[1] for step in steps if step[0] == "evaluate"] == files
    timed = {
        (step[1], step[step.index("--baseline") + 1]): "--vary" in step
        for step in steps
        if step[0] == "bench"
    }
    assert timed == {
        **{(f"{m}.{f}.fp32", f"dense.{f}.fp32"): False for m in models for f in export.formats},
        **{(f"dense.{f}.int8", f"dense.{f}.fp32"): True for f in export.formats},
        **{(f"pruned.{f}.int8", f"dense.{f}.int8"): False for f in export.formats},
    }


def test_a_recipe_without_files_makes_what_it_always_did(tmp_path: Path) -> None:
    steps = steps_of(named_recipe("quickstart"), tmp_path)
    assert len(steps) == 5 + 5 * 9
    exports = {step[-4:] for step in steps if step[0] == "export"}
    assert exports == {("--format", "onnx", "--precision", "fp32")}
    assert {step[3] for step in steps if step[0] == "bench"} == {"dense.onnx.fp32"}


def changed(folder: Path, name: str, old: str, new: str) -> Recipe:
    text = recipe_text(name)
    assert old in text
    path = folder / "recipe.toml"
    path.write_text(text.replace(old, new, 1))
    return read_recipe(path)


def test_a_recipe_cuts_to_shares_of_the_cost(tmp_path: Path) -> None:
    asked = "ratios = [0.5]\nmacs = [0.2, 0.4]\nparams = [0.3]"
    recipe = changed(tmp_path, "pacs-tiny-cpu", "ratios = [0.5]", asked)
    entry = recipe.prune[0]
    assert [cell[2] for cell in recipe.cells()] == [
        *(PlannedBudget("macs", 0.4), PlannedBudget("macs", 0.2)),
        *(PlannedBudget("params", 0.3), HALF),
    ]
    assert "macs36" == PlannedBudget("macs", 0.36).label
    options = pruning_options(entry, "l1", PlannedBudget("macs", 0.4))
    assert "--ratio" not in options and options[4:6] == ("--macs", "0.4")
    check_recipe(recipe)


def test_a_pruning_may_have_a_recovery_and_a_teacher_of_its_own(tmp_path: Path) -> None:
    own = "refit = false\n[prune.distill]\nweight = 0.9\ntemperature = 2.0"
    recipe = changed(tmp_path, "pacs-tiny-cpu", "refit = false", own)
    entry = recipe.prune[0]
    assert (recipe.teaching(entry).weight, recipe.recovery(entry)) == (0.9, recipe.recover)
    assert "--distill" not in pruning_options(entry, "l1", HALF)
    longer = dataclasses.replace(entry, recover=dataclasses.replace(recipe.recover, epochs=0))
    with pytest.raises(DgpruneError, match="epochs"):
        check_recipe(dataclasses.replace(recipe, prune=(longer,)))


def test_a_model_whose_tag_is_unknown_is_refused_before_any_work(tmp_path: Path) -> None:
    name = 'model = "vit_tiny_patch16_224'
    recipe = changed(tmp_path, "pacs-tiny-cpu", name, f"{name}.nosuch")
    with pytest.raises(DgpruneError, match="timm has no weights 'nosuch' of vit_tiny_patch16_224"):
        check_recipe(recipe)


def test_images_of_the_refit_are_handed_on_and_need_one(tmp_path: Path) -> None:
    more = changed(tmp_path, "pacs-tiny-cpu", "refit = false", "refit = true\nrefit_images = 9")
    assert pruning_options(more.prune[0], "l1", HALF)[-2:] == ("--refit-images", "9")
    check_recipe(more)
    idle = changed(tmp_path, "pacs-tiny-cpu", "refit = false", "refit = false\nrefit_images = 9")
    with pytest.raises(DgpruneError, match="refit_images does nothing with refit = false"):
        check_recipe(idle)


def test_more_blocks_to_follow_than_there_are_is_refused_before_any_work(tmp_path: Path) -> None:
    recipe = named_recipe("pacs-best")
    check_recipe(recipe)
    deep = dataclasses.replace(recipe.distill, feature_blocks=13)
    with pytest.raises(DgpruneError, match="--feature-blocks 13, but the model has 12 blocks"):
        check_recipe(dataclasses.replace(recipe, distill=deep))


@pytest.mark.parametrize(
    ("new", "says"),
    [
        ("", "a \\[\\[prune\\]\\] has no budget; add ratios, macs or params"),
        ("macs = []", "names no criterion or no budget"),
        ("mac = [0.5]", "mac.*macs"),
    ],
)
def test_a_recipe_without_a_budget_is_refused(tmp_path: Path, new: str, says: str) -> None:
    with pytest.raises(DgpruneError, match=says):
        changed(tmp_path, "pacs-tiny-cpu", "ratios = [0.5]", new)


def test_a_budget_that_no_cut_can_meet_is_refused_before_any_work(tmp_path: Path) -> None:
    for new, says in (("macs = [1.5]", "--macs"), ("macs = [0.001]", "floors")):
        recipe = changed(tmp_path, "pacs-tiny-cpu", "ratios = [0.5]", new)
        with pytest.raises(DgpruneError, match=says):
            check_recipe(recipe)
    own = "macs = [0.5]\nengine = 'torch-pruning'"
    recipe = changed(tmp_path, "pacs-tiny-cpu", "ratios = [0.5]", own)
    with pytest.raises(DgpruneError, match="torch-pruning.*ratio"):
        check_recipe(recipe)


@pytest.mark.parametrize(
    ("form", "precision", "capable", "runs"),
    [
        ("onnx", "int8", [], True),
        ("onnx", "fp16", ["FP16"], False),
        ("onnx", "bf16", ["BF16"], False),
        ("openvino", "bf16", ["FP32", "BF16"], True),
        ("openvino", "bf16", ["FP32"], False),
        ("openvino", "fp16", ["FP32", "BF16"], False),
    ],
)
def test_a_precision_that_this_cpu_has_not_is_refused_before_any_work(
    form: str, precision: str, capable: list[str], runs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = pytest.importorskip("openvino").Core
    monkeypatch.setattr(core, "get_property", lambda *_: capable)
    export = ExportRecipe(formats=(form,), precisions=("fp32", precision))
    recipe = dataclasses.replace(named_recipe("quickstart"), export=export)
    check_measured(recipe, form, here=False)  # another machine may have it
    if runs:
        check_measured(recipe, form)
    else:
        with pytest.raises(DgpruneError, match=f"does not compute in {precision} on this CPU"):
            check_measured(recipe, form)
