import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import Delaunay

from malpighi.errors import DataError
from malpighi.geometry import Box, Spacing
from malpighi.objects.hull import find_hull


def reader(mask):
    return lambda box: mask[box.slices]


def test_the_hull_of_two_corners_is_the_diagonal():
    mask = np.zeros((6, 6), np.uint8)
    mask[0, 0] = mask[5, 5] = 1
    found = find_hull(reader(mask), mask.shape, Spacing.um(2.0)).mask
    assert found.diagonal().all()
    assert not found[0, 2:].any()
    assert not found[2:, 0].any()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from([(9, 8), (6, 7, 8)]))
def test_voxels_inside_are_those_a_triangulation_holds(seed, shape):
    rng = np.random.default_rng(seed)
    mask = rng.random(shape) < 0.05
    mask[tuple(rng.integers(0, n) for n in shape)] = True
    found = find_hull(reader(mask), shape, Spacing.um((1.0, 2.0, 3.0)[-len(shape) :])).mask
    points = np.argwhere(mask)
    corners = (points[:, None] + np.array(list(np.ndindex(*(2,) * len(shape))))).reshape(-1, len(shape))
    centres = np.argwhere(np.ones(shape, bool)) + 0.5
    inside = (Delaunay(corners, qhull_options="QJ").find_simplex(centres, tol=1e-9) >= 0).reshape(shape)
    assert found[inside].all()  # a voxel that is only touched may be in besides
    assert found[mask].all()


def test_a_coarse_grid_loses_nothing_and_the_margin_is_in_units():
    mask = np.zeros((40, 30, 50), np.uint8)
    mask[10, 12, 20:31] = 1
    spacing = Spacing.um((2.0, 1.0, 1.0))
    hull = find_hull(reader(mask), mask.shape, spacing, most=1000)
    whole = hull.inside(Box.of_shape(mask.shape), spacing)
    assert whole[mask > 0].all()
    assert whole.sum() < 2000
    assert hull.any(Box((10, 12, 20), (1, 1, 1)), spacing)
    assert not hull.any(Box((30, 0, 0), (10, 30, 50)), spacing)
    wider = find_hull(reader(mask), mask.shape, spacing, margin=8.0)
    along_z = wider.inside(Box.of_shape(mask.shape), spacing)[:, 12, 25]
    assert np.flatnonzero(along_z).tolist() == list(range(10 - 4, 10 + 5))
    half = wider.inside(Box((0, 0, 0), (20, 30, 50)), Spacing.um((4.0, 1.0, 1.0)))  # another grid
    assert half[4, 12, 25]
    assert not half[9, 12, 25]


def test_an_empty_mask_has_no_hull():
    with pytest.raises(DataError, match="empty"):
        find_hull(reader(np.zeros((4, 4), bool)), (4, 4), Spacing.pixels(2))
