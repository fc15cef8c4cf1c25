"""What is refused before the first step, when the recipe is known and the network can be tried."""

from pathlib import Path

import pytest

from malpighi.errors import RecipeError, SpacingError
from malpighi.recipes.load import build, read_raw
from malpighi.recipes.recipe import Recipe
from malpighi.tasks.prepare import _require_network, _require_unit


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


def test_images_in_another_unit_than_the_recipe_are_refused_with_the_cure():
    raw, glands = read_raw("kidney-17th"), Path("glands")
    with pytest.raises(
        SpacingError, match=r"glands: the images are in px .* give their µm per pixel with --spacing, or set data.unit=px"
    ):
        _require_unit(raw, "px", glands)
    _require_unit(raw, "µm", glands)
    with pytest.raises(SpacingError, match="with --spacing px they are worked in pixels"):
        _require_unit(read_raw("kidney-17th", ["data.unit=px"]), "µm", glands)
    for unit in ("px", "µm"):
        _require_unit(read_raw("auto"), unit, glands)
