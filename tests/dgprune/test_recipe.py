"""Recipes: every option of a training has a key, and what is given reaches the command."""

import dataclasses
import inspect

from dgprune.chain import distillation_options, training_options
from dgprune.recipe import TrainRecipe, named_recipe
from pruning.cli import finetune
from pruning.training_spec import TrainSpec


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
    elsewhere = {"distill_weight", "temperature", "feature_weight", "seed"}
    for name, default in spec.items():
        option = renamed.get(name, name)
        assert options[option].default == default
        if name not in elsewhere:
            assert keys[option] in (dataclasses.MISSING, default)
