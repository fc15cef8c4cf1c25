"""Options of inference that would do nothing are refused when the recipe is read."""

import pytest

from malpighi.errors import RecipeError
from malpighi.recipes.load import read_raw
from malpighi.recipes.recipe import Recipe


@pytest.mark.parametrize(
    ("recipe", "override", "said"),
    [
        ("kidney-1st", "predict.gate=0.5", "model.tile_class = true"),
        ("vessel-2nd", "predict.across=2", "is for images"),
        ("vessel-2nd", "objects.fill_holes=100", "is for images"),
        ("vessel-2nd", "objects.otsu=100", "is for images"),
        ("nuclei", "predict.one_class=true", "set predict.one_class = false"),
        ("nuclei", "objects.energy=1.0", "set objects.energy = 0"),
        ("nuclei", "predict.across=1", "set predict.across = 0"),
        ("nuclei", "model.exclusive=true", "layers, not classes"),
    ],
)
def test_an_option_that_does_not_go_with_the_network_is_refused(recipe, override, said):
    more = ["model.tile_class=false"] if "gate" in override else []
    with pytest.raises(RecipeError, match=said):
        read_raw(recipe, [*more, override])


def test_a_share_of_the_voxels_and_the_class_with_most_voxels_do_not_go_together():
    with pytest.raises(RecipeError, match="as many voxels"):
        read_raw("demo", ["predict.top=1.0", "predict.one_class=true"])


def test_a_network_with_the_head_takes_a_gate():
    raw = read_raw("demo", ["predict.gate=0.5", "model.tile_class=true"])
    assert raw["predict"]["gate"] == 0.5
    assert Recipe().predict.gate == 0
