import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask

from malpighi.annotations.base import UNLABELLED
from malpighi.annotations.instances import Instance, InstancesAnnotation, bounds, drawn, object_numbers, placed
from malpighi.annotations.rle import RunLengths
from malpighi.errors import DataError
from malpighi.geometry import Box, Space

SPACE = Space.of_shape((6, 8))
WHOLE = Box.of_shape((6, 8))


def square(y, x, side=3):
    mask = np.zeros((6, 8), bool)
    mask[y : y + side, x : x + side] = True
    return mask


def item(mask, label="cell", **more):
    return Instance(label, RunLengths.encode(mask), **more)


@given(arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7))), st.tuples(*[st.integers(0, 3)] * 4))
def test_a_small_mask_in_a_large_image(mask, margins):
    top, bottom, left, right = margins
    whole = np.pad(mask, ((top, bottom), (left, right)))
    for order in ("F", "C"):
        found, expected = placed(mask, (top, left), whole.shape, order), RunLengths.encode(whole, order)
        assert found.starts.tolist() == expected.starts.tolist()
        assert found.stops.tolist() == expected.stops.tolist()
    box = bounds(RunLengths.encode(whole))
    reference = coco_mask.toBbox(coco_mask.encode(np.asfortranarray(whole.astype(np.uint8))))
    if mask.any():
        assert [box.start[1], box.start[0], box.size[1], box.size[0]] == reference.tolist()
    else:
        assert box.empty


def test_the_later_of_two_that_overlap_wins_and_both_classes_are_drawn():
    first, second = square(0, 0), square(2, 2)
    annotation = InstancesAnnotation("a", SPACE, [item(first, "x"), item(second, "y")], ("x", "y"))
    np.testing.assert_array_equal(annotation.rasterise(WHOLE), [first, second])
    np.testing.assert_array_equal(annotation.instances(WHOLE), np.where(second, 2, first))
    np.testing.assert_array_equal(annotation.instances(WHOLE, classes=("x",)), first)


def test_a_part_and_a_coarser_grid_are_those_of_the_whole():
    masks = [square(0, 0), square(2, 4)]
    annotation = InstancesAnnotation("a", SPACE, [item(mask) for mask in masks], ("cell",))
    whole = annotation.instances(WHOLE)
    part = Box((1, 2), (4, 5))
    np.testing.assert_array_equal(annotation.instances(part), whole[part.slices])
    coarse = annotation.instances(Box((0, 0), (2, 3)), SPACE.spacing.times(3))
    np.testing.assert_array_equal(coarse, whole[np.ix_([1, 4], [1, 4, 7])])


def test_the_same_mask_with_another_label_is_the_same_object():
    mask = square(1, 1)
    items = [item(mask, "x"), item(mask, "y"), item(mask, "x"), item(square(0, 0), "x")]
    assert object_numbers(items) == [1, 1, 2, 3]


def test_a_crowd_is_unlabelled_and_no_object():
    annotation = InstancesAnnotation("a", SPACE, [item(square(0, 0), crowd=True), item(square(0, 0, 2))], ("cell",))
    assert annotation.rasterise(WHOLE)[0, 2, 2] == UNLABELLED
    assert annotation.rasterise(WHOLE)[0, 1, 1] == 1
    assert annotation.instances(WHOLE).max() == 1
    assert "not told apart" in annotation.notes[0]


def test_classes_that_are_not_there_are_refused():
    with pytest.raises(DataError, match=r"a: holds cell, none of the classes asked for \(nucleus\)"):
        InstancesAnnotation("a", SPACE, [], ("cell",), ("nucleus",))


def test_an_outline_is_drawn_by_the_centres_of_pixels():
    runs = drawn(shapely.box(1.6, 0.4, 3.4, 2.6), (6, 8))
    expected = np.zeros((6, 8))
    expected[0:3, 2:3] = 1
    np.testing.assert_array_equal(runs.decode(), expected)
    assert not drawn(shapely.box(20, 20, 30, 30), (6, 8)).area
