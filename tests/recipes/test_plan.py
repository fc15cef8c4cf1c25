"""auto: each value by hand from given facts, each with a reason."""

from dataclasses import replace

import pytest

from malpighi.errors import RecipeError
from malpighi.recipes.facts import DataFacts, MachineFacts, StepTimes
from malpighi.recipes.load import AUTO, build, read_raw
from malpighi.recipes.plan import MEASURED, RULES, plan

SLIDES = DataFacts(20, channels=3, dtype="uint8", unit="µm", spacing=0.5, side=20_000, diameter=400, foreground=0.02)
LAPTOP = MachineFacts("cpu", "CPU, 2 cores", 16.0, 2)
GPU = MachineFacts("cuda", "H200", 139.0, 16)
TIMES = StepTimes({("float32", False): 1.4, ("float32", True): 1.0, ("bfloat16", False): 0.9, ("bfloat16", True): 0.5})


def _plan(data=SLIDES, machine=LAPTOP, overrides=()):
    full, choices = plan(read_raw("auto", overrides), data, machine, lambda raw: TIMES)
    return full, {choice.key: choice for choice in choices}


def test_every_auto_is_filled_with_a_reason_and_the_recipe_is_valid():
    full, choices = _plan()
    recipe = build(full)
    assert set(choices) == {*RULES, *MEASURED}
    assert all(choice.reason for choice in choices.values())
    assert recipe.data.unit == "µm"


def test_objects_are_worked_at_about_a_hundred_pixels():
    # 400 px across at .5 µm; 400 / 96 = 4.2, so every fourth pixel: 2 µm, 100 px an object
    full, _ = _plan()
    assert full["data"]["spacing"] == 2.0
    assert full["data"]["tile"] == 256  # four objects would take 384; a CPU is held to 256
    assert _plan(machine=GPU)[0]["data"]["tile"] == 384


def test_small_objects_and_small_images_are_not_reduced():
    assert _plan(replace(SLIDES, diameter=30))[0]["data"]["spacing"] == 0.5
    tiny = replace(SLIDES, side=200, diameter=190)
    assert _plan(tiny)[0]["data"]["spacing"] == 0.5
    assert _plan(tiny)[0]["data"]["tile"] <= 224


def test_pixels_where_no_size_is_known():
    full, choices = _plan(replace(SLIDES, unit="px", spacing=1.0))
    assert (full["data"]["unit"], full["data"]["spacing"]) == ("px", 4.0)
    assert "--spacing" in choices["data.unit"].reason


def test_specks_are_a_fiftieth_of_a_typical_object():
    # a disc of 400 px at .5 µm: 200 µm across, 31,416 µm²
    assert _plan()[0]["objects"]["min_area"] == pytest.approx(31_416 / 50, rel=0.01)
    assert _plan(replace(SLIDES, diameter=float("nan")))[0]["objects"]["min_area"] == 0


def test_rare_objects_are_aimed_at():
    assert _plan()[0]["sampling"]["foreground"] == 0.5
    assert _plan(replace(SLIDES, foreground=0.5))[0]["sampling"]["foreground"] == 0.0


def test_the_fastest_measured_setting_is_taken_and_steps_fill_the_minutes():
    full, choices = _plan(overrides=["train.minutes=10.0"])
    assert (full["train"]["precision"], full["train"]["channels_last"]) == ("bfloat16", True)
    assert full["train"]["steps"] == int(10 * 60 * 0.8 / 0.5)
    assert "500 ms" in choices["train.precision"].reason


def test_given_values_stay_and_nothing_is_measured_in_vain():
    overrides = ["train.steps=9", "train.precision=float32", "train.channels_last=false", "train.validate_every=3"]

    def never(raw):
        raise AssertionError("nothing to measure")

    full, _ = plan(read_raw("auto", overrides), SLIDES, LAPTOP, never)
    assert full["train"]["steps"] == 9


def test_fluorescence_is_scaled_by_percentiles():
    assert _plan(replace(SLIDES, channels=4, dtype="uint16"))[0]["intensity"]["kind"] == "percentile"


def test_auto_without_a_rule_lists_those_that_have_one():
    with pytest.raises(RecipeError, match=r"loss\.smooth.*data\.spacing"):
        _plan(overrides=[f"loss.smooth={AUTO}"])


@pytest.mark.parametrize(
    ("architecture", "numbers"), [("unet", 5), ("manet", 5), ("fpn", 1), ("upernet", 1), ("attention-unet", 0)]
)
def test_decoder_has_as_many_widths_as_the_architecture_takes(architecture, numbers):
    full, _ = _plan(overrides=[f"model.architecture={architecture}"])
    assert len(build(full).model.decoder_channels) == numbers
