"""Outlines of components: one read of a box, and block by block."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from malpighi.geometry import Box
from malpighi.objects.cache import BlockCache
from malpighi.objects.label import find_components
from malpighi.objects.outline import outline_component, simplified
from malpighi.objects.trace import outline


def reader(array):
    return lambda box: array[box.slices]


@given(arrays(bool, (14, 13), elements=st.integers(0, 9).map(lambda v: v < 6)), st.integers(2, 9), st.booleans())
@settings(max_examples=80, deadline=None)
def test_outline_is_that_of_the_component_alone_read_whole_or_in_blocks(mask, block, faces_only):
    found = find_components(reader(mask), mask.shape, block, faces_only)
    labels = found.labels(Box.of_shape(mask.shape))
    for k in range(1, len(found) + 1):
        expected = outline(labels == k)
        whole = outline_component(found, k)
        pieces = outline_component(found, k, whole=0)
        assert whole.geometry.equals(expected)
        assert pieces.geometry.equals(expected)
        assert pieces.geometry.is_valid
        assert whole.codes[1:].tolist() == pieces.codes[1:].tolist()  # code 0 is where nothing is


def test_small_holes_are_filled_either_way():
    mask = np.ones((20, 20), bool)
    mask[2, 2] = False
    mask[8:14, 8:14] = False
    found = find_components(reader(mask), mask.shape, 7)
    for whole in (10**6, 0):
        traced = outline_component(found, 1, holes_below=10, whole=whole)
        assert traced.filled == 1
        assert traced.geometry.equals(shapely.box(0, 0, 20, 20) - shapely.box(8, 8, 14, 14))


def test_simplified_stays_near_and_is_far_smaller():
    y, x = np.mgrid[-60:61, -60:61]
    exact = outline(y**2 + x**2 <= 57**2)
    simple = simplified(exact, 0.5)
    assert simple.hausdorff_distance(exact) < 0.9
    assert simple.area == pytest.approx(exact.area, rel=0.01)
    assert len(simple.exterior.coords) < len(exact.exterior.coords) / 3
    assert simplified(exact, 0) is exact


@given(arrays(bool, (12, 12), elements=st.integers(0, 9).map(lambda v: v < 7)).filter(np.any), st.floats(0.05, 2))
@settings(max_examples=100, deadline=None)
def test_simplified_is_valid_and_keeps_its_area(mask, tolerance):
    simple = simplified(outline(mask), tolerance)
    assert simple.is_valid
    assert simple.area == pytest.approx(mask.sum(), rel=0.05)


def test_one_pixel_is_not_simplified_away():
    pixel = outline(np.ones((1, 1), bool))
    assert simplified(pixel, 0.9).equals(pixel)


@given(st.tuples(st.integers(0, 18), st.integers(0, 22)), st.tuples(st.integers(1, 19), st.integers(1, 23)))
@settings(max_examples=50, deadline=None)
def test_cache_reads_what_the_reader_would(start, size):
    array = np.arange(19 * 23).reshape(19, 23)
    cache = BlockCache(reader(array), array.shape, (5, 7), keep=2)
    box = Box(start, size).clip(array.shape)
    np.testing.assert_array_equal(cache(box), array[box.slices])


def test_cache_reads_a_block_once_for_many_objects():
    read = []
    cache = BlockCache(lambda box: read.append(box) or np.zeros(box.size), (10, 10), (5, 5))
    for start in ((0, 0), (1, 2), (2, 2)):
        cache(Box(start, (2, 2)))
    assert read == [Box((0, 0), (5, 5))]


@pytest.mark.real_data
def test_real_glands_are_drawn_again_from_their_outlines(real):
    path = sorted((real / "colon_glands" / "masks").glob("*.png"))[3]
    mask = np.asarray(Image.open(path).convert("L")) > 0
    found = find_components(reader(mask), mask.shape, 200)
    y, x = np.indices(mask.shape) + 0.5
    drawn = np.zeros(mask.shape, int)
    for k in range(1, len(found) + 1):
        drawn[shapely.contains_xy(outline_component(found, k).geometry, x, y)] = k
    np.testing.assert_array_equal(drawn, found.labels(Box.of_shape(mask.shape)))
