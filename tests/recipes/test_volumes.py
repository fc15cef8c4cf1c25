"""auto for volumes: each value by hand from given facts."""

from dataclasses import replace

import pytest

from malpighi.errors import RecipeError
from malpighi.recipes.facts import DataFacts, MachineFacts, StepTimes
from malpighi.recipes.load import build, read_raw
from malpighi.recipes.plan import MEASURED, RULES, plan

KIDNEY = DataFacts(
    3,
    channels=1,
    dtype="uint16",
    unit="µm",
    spacing=50.0,
    side=900,
    diameter=40,
    foreground=0.003,
    shape=(2279, 1303, 912),
    voxel=(50.0, 50.0, 50.0),
)
STACK = replace(KIDNEY, dtype="uint8", unit="px", spacing=1.0, side=320, shape=(26, 320, 320), voxel=(1.0, 1.0, 1.0))
LAPTOP = MachineFacts("cpu", "CPU, 2 cores", 16.0, 2)
GPU = MachineFacts("cuda", "H200", 139.0, 16)
TIMES = StepTimes({("float32", False): 1.4, ("bfloat16", True): 0.5})


def _plan(data=KIDNEY, machine=LAPTOP, recipe="auto", overrides=()):
    full, choices = plan(read_raw(recipe, overrides), data, machine, lambda raw: TIMES)
    return full, {choice.key: choice for choice in choices}


def test_every_auto_is_filled_with_a_reason_and_the_recipe_is_valid():
    full, choices = _plan()
    assert set(choices) == {*RULES, *MEASURED}
    assert all(choice.reason for choice in choices.values())
    assert build(full).task == "vessels"


def test_an_organ_is_cut_along_all_axes_at_full_resolution():
    recipe = build(_plan()[0])
    assert recipe.data.axes == ("z", "y", "x")
    assert recipe.data.spacing == 50.0
    assert (recipe.model.slices_in, recipe.model.slices_out) == (3, 3)
    assert recipe.data.tile == (3, 128, 128)
    assert build(_plan(machine=GPU)[0]).data.tile == (3, 256, 256)
    assert recipe.objects.min_area == pytest.approx(64 * 50**3)


def test_a_thin_stack_and_long_voxels_are_cut_along_z_alone():
    assert build(_plan(STACK)[0]).data.axes == ("z",)
    long = replace(KIDNEY, voxel=(150.0, 50.0, 50.0))
    recipe = build(_plan(long)[0])
    assert recipe.data.axes == ("z",)
    assert recipe.data.spacing == (150.0, 50.0, 50.0)


def test_a_recipe_for_slides_refuses_volumes_and_the_reverse():
    slides = DataFacts(20, channels=3, dtype="uint8", unit="µm", spacing=0.5, side=9000, diameter=400, foreground=0.02)
    with pytest.raises(RecipeError, match=r"two-dimensional images .* the data are volumes; .*auto"):
        _plan(recipe="demo")
    with pytest.raises(RecipeError, match=r"for volumes .* two-dimensional images"):
        _plan(slides, overrides=["task=vessels"])
    with pytest.raises(RecipeError, match=r"vessel-1st: is for volumes .* two-dimensional images"):
        _plan(slides, recipe="vessel-1st")  # and not of sides of tiles


def test_a_network_in_3d_gets_cubes_and_no_slices():
    recipe = build(_plan(overrides=["model.architecture=res-unet3d"])[0])
    assert recipe.model.slices_in == 0
    assert recipe.data.axes == ("z",)
    assert recipe.data.tile == (64, 64, 64)
    assert build(_plan(STACK, overrides=["model.architecture=res-unet3d"])[0]).data.tile == (32, 64, 64)
    assert recipe.train.batch == 2
