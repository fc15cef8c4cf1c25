from itertools import pairwise

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from malpighi.annotations.scanline import paint, spans, union
from malpighi.geometry import Box

SIZE = (12, 15)
WHOLE = Box.of_shape(SIZE)
# thirds and halves, so that crossings meet voxel centres now and then, and lines of centres
numbers = st.integers(-6, 40).map(lambda n: n / 2) | st.integers(-9, 60).map(lambda n: n / 3)
rings = st.lists(st.tuples(numbers, numbers), min_size=3, max_size=8)


def filled(geometry, box=WHOLE, ratio=(1.0, 1.0)):
    return union(spans([geometry], box, ratio), box.size)


def even_odd_at(points, ring):
    """Textbook ray casting, point by point; None where the point lies on the outline."""
    out = []
    line = shapely.LinearRing(ring)
    for x, y in points:
        if shapely.distance(line, shapely.Point(x, y)) < 1e-9:
            out.append(None)
            continue
        inside = False
        for (x0, y0), (x1, y1) in zip(ring, [*ring[1:], ring[0]], strict=True):
            if (y0 > y) != (y1 > y) and x < x0 + (y - y0) * (x1 - x0) / (y1 - y0):
                inside = not inside
        out.append(inside)
    return out


def test_a_rectangle_fills_the_voxels_whose_centre_it_holds():
    drawn = filled(shapely.box(1.4, 2.5, 3.6, 4.51))
    assert np.argwhere(drawn).tolist() == [[y, x] for y in (2, 3, 4) for x in (2 - 1, 2, 3)]


def test_a_hole_is_left_out():
    ring = shapely.Polygon([(0, 0), (5, 0), (5, 5), (0, 5)], [[(1, 1), (4, 1), (4, 4), (1, 4)]])
    expected = np.ones((5, 5), np.uint8)
    expected[1:4, 1:4] = 0
    np.testing.assert_array_equal(filled(ring)[:5, :5], expected)


def test_parts_of_a_multipolygon_are_filled():
    parts = shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(3, 2, 4, 3)])
    assert np.argwhere(filled(parts)).tolist() == [[0, 0], [2, 3]]


@given(rings)
def test_even_odd_rule_holds_at_every_centre(ring):
    drawn = filled(shapely.Polygon(ring))
    centres = [(x + 0.5, y + 0.5) for y in range(SIZE[0]) for x in range(SIZE[1])]
    for value, expected in zip(drawn.ravel(), even_odd_at(centres, ring), strict=True):
        assert expected is None or value == expected


@given(rings)
def test_valid_polygons_agree_with_shapely(ring):
    polygon = shapely.Polygon(ring)
    if not polygon.is_valid:
        polygon = polygon.convex_hull
    if not isinstance(polygon, shapely.Polygon) or polygon.is_empty:
        return
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    clear = shapely.distance(polygon.exterior, shapely.points(x, y)) > 1e-9
    np.testing.assert_array_equal(filled(polygon)[clear], shapely.contains_xy(polygon, x, y)[clear])


@given(rings, st.integers(-3, 12), st.integers(-3, 12), st.sampled_from([1.0, 2.0, 1.5, 0.7]))
def test_a_box_is_that_part_of_the_whole(ring, y, x, ratio):
    polygon = shapely.Polygon(ring)
    whole = filled(polygon, Box((-4, -4), (40, 40)), (ratio, ratio))
    part = filled(polygon, Box((y, x), (5, 7)), (ratio, ratio))
    np.testing.assert_array_equal(part, whole[y + 4 : y + 9, x + 4 : x + 11])


@given(st.lists(st.floats(0.1, 14.9), min_size=1, max_size=4, unique=True), st.floats(-3, 3))
def test_neighbours_share_no_voxel_and_leave_none(cuts, slope):
    edges = [-50.0, *sorted(cuts), 60.0]
    strips = [shapely.Polygon([(a, 0), (b, 0), (b + slope * 12, 12), (a + slope * 12, 12)]) for a, b in pairwise(edges)]
    found = spans(strips, Box((0, 0), SIZE), (1.0, 1.0))
    covered = np.zeros(SIZE, int)
    for row, start, stop in zip(found.row, found.start, found.stop, strict=True):
        covered[row, start:stop] += 1
    assert (covered == 1).all()


def test_coarse_voxels_take_their_centre():
    # centres at 1, 3, 5, … level-0 pixels
    assert np.argwhere(filled(shapely.box(2.9, 0.5, 5.1, 1.5), Box((0, 0), (4, 4)), (2.0, 2.0))).tolist() == [[0, 1], [0, 2]]


def test_overlapping_objects_join_in_the_union_and_the_later_wins_in_paint():
    found = spans([shapely.box(0, 0, 3, 1), shapely.box(2, 0, 5, 1)], Box((0, 0), (1, 6)), (1.0, 1.0))
    assert union(found, (1, 6)).tolist() == [[1, 1, 1, 1, 1, 0]]
    assert paint(found, (1, 6), np.array([7, 9])).tolist() == [[7, 7, 9, 9, 9, 0]]


@pytest.mark.parametrize("shapes", [[], [shapely.Polygon()], [shapely.box(20, 20, 30, 30)]])
def test_nothing_near_draws_nothing(shapes):
    found = spans(shapes, Box((0, 0), SIZE), (1.0, 1.0))
    assert not union(found, SIZE).any()
    assert not paint(found, SIZE, np.arange(1, len(shapes) + 1)).any()


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_many_objects_at_once_are_each_alone(seed):
    rng = np.random.default_rng(seed)
    shapes = [shapely.Polygon(rng.uniform(-2, 16, (5, 2))) for _ in range(6)]
    together = union(spans(shapes, Box((0, 0), SIZE), (1.0, 1.0)), SIZE)
    np.testing.assert_array_equal(together, np.max([filled(s) for s in shapes], axis=0))
