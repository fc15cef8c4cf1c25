"""Round cones: exact distances, partial volume, and the same in every box."""

import numpy as np
import pytest

from malpighi.geometry import Box
from malpighi.phantoms.tree import VesselTree
from malpighi.phantoms.tubes import MARGIN, Tubes


def straight(a, b, ra, rb):
    """One branch of one piece."""
    nodes, zero = np.array([a, b]), np.zeros(1, int)
    return VesselTree(nodes, np.array([[0, 1]]), nodes, np.array([ra, rb]), np.array([0, 2]), zero + ra, zero, zero, zero - 1)


def tube(a, b, ra, rb, size=(40, 40, 40), spacing=(1.0, 1.0, 1.0)):
    tree = straight(a, b, ra, rb)
    return Tubes.of(tree, spacing, tuple(n * s for n, s in zip(size, spacing, strict=True)), np.ones(1, bool))


def distance(shape, a, b, ra, rb):
    """Below the surface of the balls along a cone, the deepest of many: an independent reference."""
    centers = np.stack(np.meshgrid(*(np.arange(n) + 0.5 for n in shape), indexing="ij"), -1)
    best = np.full(shape, -np.inf)
    for t in np.linspace(0, 1, 300):
        best = np.maximum(best, ra + t * (rb - ra) - np.linalg.norm(centers - (a + t * (b - a)), axis=-1))
    return best


@pytest.mark.parametrize("ends", [(5.0, 5.0), (6.0, 3.0), (2.0, 4.5)])
def test_depth_is_the_distance_to_the_wall(ends):
    a, b = np.array([10.2, 12.1, 9.0]), np.array([25.3, 22.0, 30.7])
    depth, _ = tube(a, b, *ends).draw(Box.of_shape((40, 40, 40)))
    expected = distance((40, 40, 40), a, b, *ends)
    near = depth > -MARGIN
    wall = near & (np.abs(expected) < 1)
    np.testing.assert_allclose(depth[wall], expected[wall], atol=1e-2)
    assert (depth[near] > expected[near] - 1e-5).all()  # the reference has gaps between its balls
    assert (depth[near] < expected[near] + 0.05).all()
    assert (expected[~near] <= -MARGIN + 1e-5).all()


def test_partial_volume_sums_to_the_volume():
    a, b = np.array([20.3, 19.7, 8.1]), np.array([18.2, 21.9, 33.4])
    depth, _ = tube(a, b, 3.0, 3.0).draw(Box.of_shape((40, 40, 40)))
    exact = np.pi * 9 * np.linalg.norm(b - a) + 4 / 3 * np.pi * 27
    assert np.clip(depth + 0.5, 0, 1).sum() == pytest.approx(exact, rel=0.015)
    assert (depth > 0).sum() == pytest.approx(exact, rel=0.03)


def test_voxels_need_not_be_cubes():
    """A ball of 8 µm in voxels of 4 × 2 × 1 µm."""
    at = np.array([40.7, 40.3, 40.1])
    drawn = tube(at, at + 1e-7, 8.0, 8.0, (20, 40, 80), (4.0, 2.0, 1.0)).draw(Box.of_shape((20, 40, 80)))[0] > 0
    assert drawn.sum() * 8 == pytest.approx(4 / 3 * np.pi * 512, rel=0.05)
    assert [int(drawn.any(tuple(set(range(3)) - {d})).sum()) for d in range(3)] == [4, 8, 16]


def test_a_voxel_does_not_depend_on_the_box():
    tubes = tube(np.array([3.0, 30, 12]), np.array([33.0, 8, 25]), 6.0, 2.0)
    whole = tubes.draw(Box((-5, -5, -5), (50, 50, 50)))[0]
    for start, size in [((0, 0, 0), (7, 9, 11)), ((-5, 20, 3), (30, 20, 20)), ((30, 5, 20), (1, 1, 1))]:
        part = whole[tuple(slice(s + 5, s + 5 + n) for s, n in zip(start, size, strict=True))]
        np.testing.assert_array_equal(tubes.draw(Box(start, size))[0], part)


def test_only_cones_nearby_are_drawn():
    tubes = tube(np.array([5.0, 5, 5]), np.array([6.0, 6, 6]), 2.0, 2.0)
    assert len(tubes.near(Box((0, 0, 0), (8, 8, 8)))) == 1
    assert len(tubes.near(Box((25, 25, 25), (8, 8, 8)))) == 0
