import pytest
from hypothesis import given
from hypothesis import strategies as st

from malpighi.errors import SpacingError
from malpighi.geometry import Space, Spacing
from malpighi.sampling.plain_boxes import grid_round
from malpighi.sampling.reductions import views

PIXELS = Spacing.pixels(2)


def test_reductions_multiply_the_working_spacing():
    found = views([Space.of_shape((64, 64))] * 2, Spacing((0.5, 0.5), "µm"), (16, 16), (1.0, 2.5))
    assert found == [
        (0, Spacing((0.5, 0.5), "µm")),
        (0, Spacing((1.25, 1.25), "µm")),
        (1, Spacing((0.5, 0.5), "µm")),
        (1, Spacing((1.25, 1.25), "µm")),
    ]
    assert views([Space.of_shape((64, 64))], PIXELS, (16, 16)) == [(0, PIXELS)]


def test_across_in_pixels_by_hand():
    """522 × 775 in tiles of 256: 775 / 256 pixels, half and a third of that; the quarters of a square are four."""
    space = Space.of_shape((522, 775))
    found = views([space], PIXELS, (256, 256), across=(1, 2, 3))
    assert [spacing.values[0] for _, spacing in found] == pytest.approx([775 / 256, 775 / 512, 775 / 768])
    assert [space.shape_at(spacing)[1] for _, spacing in found] == [256, 512, 768]
    assert all(spacing.values[0] == spacing.values[1] for _, spacing in found)
    square = Space.of_shape((300, 300))
    shapes = [square.shape_at(spacing) for _, spacing in views([square], PIXELS, (256, 256), across=(1, 2, 3))]
    assert [sum(1 for _ in grid_round([shape], (256, 256), shifted=False)) for shape in shapes] == [1, 4, 9]


def test_across_in_micrometres_by_hand():
    """1000 × 500 pixels of 0.5 µm are 500 × 250 µm: two tiles of 100 across are pixels of 2.5 µm."""
    space = Space.of_shape((1000, 500), Spacing((0.5, 0.5), "µm"))
    ((_, spacing),) = views([space], Spacing((9.0, 9.0), "µm"), (100, 100), across=(2,))
    assert spacing.unit == "µm"
    assert spacing.values == pytest.approx((2.5, 2.5))
    # pixels that are longer along y: 1000 × 500 µm
    oblong = Space.of_shape((1000, 1000), Spacing((1.0, 0.5), "µm"))
    ((_, spacing),) = views([oblong], Spacing((9.0, 9.0), "µm"), (100, 100), across=(2,))
    assert spacing.values == pytest.approx((5.0, 5.0))
    assert oblong.shape_at(spacing) == (200, 100)
    with pytest.raises(SpacingError, match="physical"):
        views([Space.of_shape((64, 64))], Spacing((9.0, 9.0), "µm"), (100, 100), across=(2,))


def test_a_small_image_is_enlarged():
    ((_, spacing),) = views([Space.of_shape((100, 100))], PIXELS, (256, 256), across=(2,))
    assert spacing.values == pytest.approx((100 / 512,) * 2)


@given(st.tuples(st.integers(1, 3000), st.integers(1, 3000)), st.integers(1, 5), st.sampled_from([(64, 64), (96, 160)]))
def test_the_whole_is_at_most_k_tiles_on_every_axis_and_just_so_on_one(shape, k, tile):
    space = Space.of_shape(shape)
    ((_, spacing),) = views([space], PIXELS, tile, across=(k,))
    found = space.shape_at(spacing)
    assert all(n <= k * t for n, t in zip(found, tile, strict=True))
    assert any(n == k * t for n, t in zip(found, tile, strict=True))
