"""What is refused before the first step, when the recipe is known and the network can be tried."""

import pytest

from malpighi.errors import RecipeError
from malpighi.recipes.load import build
from malpighi.recipes.recipe import Recipe
from malpighi.tasks.prepare import _require_network


def recipe(model, **train) -> Recipe:
    own = {"encoder": "resnet10t", "pretrained": "never"}
    return build({"name": "r", "data": {"tile": 64}, "predict": {"tile": 64}, "model": {**own, **model}, "train": train}, "r")


@pytest.mark.parametrize("architecture", ["upernet", "deeplabv3+"])
def test_networks_that_normalise_a_tile_over_the_batch_take_two(architecture):
    with pytest.raises(RecipeError, match=r"train.batch 1: .* takes 2 or more"):
        _require_network(recipe({"architecture": architecture}, batch=1), 3)
    _require_network(recipe({"architecture": architecture}, batch=2), 3)


def test_attributes_need_no_values_before_the_cases_are_looked_at():
    _require_network(recipe({"tells": ["organ", "pixel_size"], "tile_class": True}, batch=1), 3)
