"""Spacings keep their unit; spaces choose levels."""

import pytest

from malpighi.errors import SpacingError
from malpighi.geometry import Space, Spacing


def test_micrometres_and_pixels_never_mix():
    with pytest.raises(SpacingError, match="--spacing"):
        Spacing.um(0.5).over(Spacing.pixels(2))


def test_ratio_and_text():
    assert Spacing.um(2.0).over(Spacing.um(0.5)) == (4.0, 4.0)
    assert str(Spacing.um((1.0, 0.5))) == "1 × 0.5 µm"
    assert str(Spacing.pixels(2, 4)) == "4 px"


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf")])
def test_impossible_sizes_are_refused(value):
    with pytest.raises(SpacingError, match="--spacing"):
        Spacing.um(value)


def test_levels_with_rounded_shapes_are_whole_reductions():
    # 2967 / 4 = 741.75, writers round down; 2220 / 4 = 555
    space = Space(((2967, 2220), (741, 555), (185, 138)), Spacing.um(0.5))
    assert [s.values for s in space.spacings] == [(0.5, 0.5), (2.0, 2.0), (8.0, 8.0)]


def test_a_thin_axis_that_is_not_reduced_is_not_taken_for_reduced():
    space = Space(((2, 512, 512), (2, 256, 256)), Spacing.um((5.0, 1.0, 1.0)))
    assert space.spacings[1].values == (5.0, 2.0, 2.0)


def test_the_level_is_the_coarsest_that_is_fine_enough():
    space = Space(((1000, 1000), (500, 500), (125, 125)), Spacing.um(0.5))
    wanted = {0.25: 0, 0.5: 0, 0.9: 0, 1.0: 1, 3.9: 1, 4.0: 2, 100: 2}
    assert {um: space.level_for(Spacing.um(um)) for um in wanted} == wanted


def test_shape_at_covers_the_image():
    space = Space.of_shape((10, 11), Spacing.um(1.0))
    assert space.shape_at(Spacing.um(2.0)) == (5, 6)
    assert space.shape_at(Spacing.um(1 / 3)) == (30, 33)
    assert space.shape_at(Spacing.um(100)) == (1, 1)


def test_three_axes_and_names():
    space = Space.of_shape((4, 5, 6))
    assert space.axes == ("z", "y", "x")
    assert space.spacing == Spacing.pixels(3)
    assert space.with_spacing(Spacing.um(2.0, 3)).spacings[0].physical


def test_ranks_that_differ_are_refused():
    with pytest.raises(SpacingError, match="rank"):
        Space(((4, 5),), Spacing.um(1.0, 3))


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("50", Spacing.um(50, 1)),
        ("2,0.5,0.5", Spacing.um((2, 0.5, 0.5))),
        ("px", Spacing.pixels(1)),
        ("3,1,1px", Spacing.pixels(3, (3, 1, 1))),
        (" 0.5µm", Spacing.um(0.5, 1)),
    ],
)
def test_what_people_write(text: str, meant: Spacing) -> None:
    assert Spacing.parse(text) == meant


@pytest.mark.parametrize("text", ["", "abc", "0", "-1", "nan", "1,2,3,4", "1,,2", "1;2"])
def test_what_is_no_spacing(text: str) -> None:
    with pytest.raises(SpacingError, match="give µm per pixel"):
        Spacing.parse(text)
