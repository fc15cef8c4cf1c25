"""Pixel-edge outlines, perimeters and hole filling."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from skimage.measure import perimeter_crofton

from malpighi.objects.trace import fill_holes, lattice_codes, outline, perimeter


def centres_inside(geometry, shape):
    y, x = np.indices(shape) + 0.5
    return shapely.contains_xy(geometry, x.ravel(), y.ravel()).reshape(shape)


def length(mask, spacing=(1.0, 1.0)):
    return perimeter(np.bincount(lattice_codes(np.pad(mask, 1)).ravel(), minlength=16), spacing)


def disc(radius, dy=1.0, dx=1.0, centre=(0.0, 0.0)):
    n = int(radius / min(dy, dx)) + 3
    y, x = np.mgrid[-n : n + 1, -n : n + 1]
    y, x = y - centre[0], x - centre[1]
    return (y * dy) ** 2 + (x * dx) ** 2 <= radius**2


@given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.booleans()).filter(np.any))
@settings(max_examples=300, deadline=None)
def test_outline_is_valid_and_rasterises_to_the_mask(mask):
    geometry = outline(mask)
    assert geometry.is_valid, shapely.is_valid_reason(geometry)
    assert geometry.area == mask.sum()
    np.testing.assert_array_equal(centres_inside(geometry, mask.shape), mask)


def test_one_pixel():
    assert outline(np.array([[True]])).equals(shapely.box(0, 0, 1, 1))


def test_ring_has_a_hole():
    mask = np.ones((3, 3), bool)
    mask[1, 1] = False
    geometry = outline(mask)
    assert geometry.geom_type == "Polygon"
    assert geometry.equals(shapely.box(0, 0, 3, 3) - shapely.box(1, 1, 2, 2))


def test_parts_that_touch_at_a_corner_become_a_multipolygon():
    geometry = outline(np.eye(2, dtype=bool))
    assert geometry.geom_type == "MultiPolygon"
    assert geometry.is_valid
    assert len(geometry.geoms) == 2


def test_ring_closed_only_by_a_corner_has_a_hole_that_touches_its_border():
    mask = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], bool)  # the hole and the outside meet at a point
    geometry = outline(mask)
    assert geometry.geom_type == "Polygon"
    assert geometry.is_valid
    assert len(geometry.interiors) == 1


def test_island_in_a_hole_belongs_to_its_own_part():
    mask = np.ones((7, 7), bool)
    mask[1:6, 1:6] = False
    mask[3, 3] = mask[1, 1] = mask[2, 2] = True  # the island hangs on the ring by corners
    geometry = outline(mask)
    assert geometry.is_valid
    assert geometry.area == mask.sum()


@pytest.mark.parametrize("radius", [5, 10.3, 20, 50, 113])
def test_perimeter_of_a_disc(radius):
    """Wherever the disc lies; one that is centred on a pixel, with four tips, is the worst."""
    centres = np.random.default_rng(0).random((20, 2))
    lengths = [length(disc(radius, centre=c)) for c in centres]
    assert np.mean(lengths) == pytest.approx(2 * np.pi * radius, rel=0.01)
    assert lengths == pytest.approx([2 * np.pi * radius] * 20, rel=0.04)


@pytest.mark.parametrize(("dy", "dx"), [(0.5, 0.5), (0.5, 1.0), (2.0, 1.2)])
def test_perimeter_of_a_disc_in_micrometres(dy, dx):
    assert length(disc(40.0, dy, dx), (dy, dx)) == pytest.approx(2 * np.pi * 40, rel=0.02)


@given(arrays(bool, (9, 8), elements=st.booleans()))
@settings(max_examples=50, deadline=None)
def test_perimeter_equals_scikit_image(mask):
    assert length(mask) == pytest.approx(perimeter_crofton(np.pad(mask, 1), directions=4))


def test_perimeter_of_a_square_is_five_percent_short():
    assert length(np.ones((100, 100), bool)) == pytest.approx(400 * 0.946, rel=0.01)


def test_fill_holes_fills_only_the_small():
    mask = np.ones((6, 10), bool)
    mask[1, 1] = False  # one pixel
    mask[1:4, 4:7] = False  # nine
    mask[0, 9] = False  # not a hole
    assert (fill_holes(mask, 2) != mask).sum() == 1
    assert (fill_holes(mask, 9) != mask).sum() == 1
    assert (fill_holes(mask, 10) != mask).sum() == 10
    np.testing.assert_array_equal(fill_holes(mask, 100), ndimage.binary_fill_holes(mask))


def test_hole_that_leaks_through_a_corner_is_a_hole_of_an_8_connected_mask_only():
    mask = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], bool)
    assert fill_holes(mask, 5)[1, 1]
    assert not fill_holes(mask, 5, faces_only=True)[1, 1]
