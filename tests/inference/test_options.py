import pytest

from malpighi.errors import RecipeError
from malpighi.inference.options import PredictOptions


def test_overlap_is_the_share_of_the_tile_that_the_next_one_has_too():
    grid = PredictOptions(tile=512, overlap=0.25).grid((10_000, 10_000))
    assert grid.tile == (512, 512)
    assert grid.step == (384, 384)


def test_sides_by_axis():
    options = PredictOptions(tile=(16, 64, 64), overlap=0.5)
    assert options.grid((100, 100, 100)).step == (8, 32, 32)
    with pytest.raises(RecipeError, match="2 axes"):
        options.grid((100, 100))


def test_one_threshold_serves_all_classes():
    assert PredictOptions(thresholds=(0.4,)).limits(3) == (0.4, 0.4, 0.4)
    assert PredictOptions(thresholds=(0.4, 0.6)).limits(2) == (0.4, 0.6)
    with pytest.raises(RecipeError, match="3 classes"):
        PredictOptions(thresholds=(0.4, 0.6)).limits(3)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tile", 0),
        ("tile", (64, 0)),
        ("overlap", 1.0),
        ("overlap", -0.1),
        ("window", "hann"),
        ("flips", "all"),
        ("batch", 0),
        ("readers", 0),
        ("thresholds", ()),
        ("thresholds", (1.5,)),
        ("memory_mb", -1),
    ],
)
def test_a_wrong_value_is_named(name, value):
    with pytest.raises(RecipeError, match=name):
        PredictOptions(**{name: value})
