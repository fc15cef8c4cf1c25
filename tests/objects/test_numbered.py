"""Objects of label images: measured one by one, block by block, touching or not."""

import numpy as np
import pytest
from shapely.geometry import box as rectangle

from malpighi.errors import DataError
from malpighi.geometry import Space, Spacing
from malpighi.objects.measure import ObjectOptions, find_numbered_objects, find_objects
from malpighi.objects.numbered import find_numbered

PIXELS = Spacing.pixels(2)


def _labels():
    """Three squares that touch, number 70,000 in two pieces; 9 has a hole, in which 12 lies beside 3 empty pixels."""
    labels = np.zeros((40, 50), np.uint32)
    labels[2:10, 2:10], labels[2:10, 10:18], labels[10:18, 2:10] = 5, 70_000, 6
    labels[30:34, 40:44] = 70_000
    labels[22:30, 4:12], labels[24:26, 6:8] = 9, 0
    labels[24, 6] = 12
    return labels


def _found(labels, options=None, block=None, probability=None):
    space = Space.of_shape(labels.shape, PIXELS)
    read = lambda box: labels[box.slices]  # noqa: E731
    weigh = None if probability is None else lambda box: probability[box.slices]
    options = options or ObjectOptions(simplify=0)
    return {f.row["id"]: f for f in find_numbered_objects(read, space, PIXELS, "cell", options, weigh, block)}


@pytest.mark.parametrize("block", [None, 7, 16])
def test_touching_objects_have_rows_and_outlines_of_their_own(block):
    found = _found(_labels(), block=block)
    assert set(found) == {5, 6, 9, 12, 70_000}
    assert found[5].shape.geometry.equals(rectangle(2, 2, 10, 10))
    assert found[5].row["voxels"] == 64
    assert found[5].row["centroid_y_px"] == 6
    assert (found[6].row["y_min"], found[6].row["y_max"], found[6].row["x_min"]) == (10, 18, 2)
    pieces = rectangle(10, 2, 18, 10).union(rectangle(40, 30, 44, 34))
    assert found[70_000].shape.geometry.equals(pieces)
    assert found[70_000].row["voxels"] == 80


def test_as_find_objects_where_nothing_touches():
    labels = np.zeros((30, 30), np.int32)
    labels[3:9, 4:12], labels[15:25, 0:7] = 1, 2
    probability = np.random.default_rng(0).random((30, 30)).astype(np.float32)
    space = Space.of_shape(labels.shape, Spacing.um(0.5))
    arguments = (space, Spacing.um(0.5), "cell", ObjectOptions(), lambda box: probability[box.slices])
    plain = list(find_objects(lambda box: labels[box.slices] > 0, *arguments))
    told = list(find_numbered_objects(lambda box: labels[box.slices], *arguments))
    assert [f.row for f in told] == [f.row for f in plain]
    assert all(a.shape.geometry.equals(b.shape.geometry) for a, b in zip(told, plain, strict=True))


def test_a_filled_hole_leaves_out_the_object_in_it():
    found = _found(_labels(), ObjectOptions(simplify=0, fill_holes=10))
    assert found[9].row["voxels"] == 64 - 1
    assert found[12].row["voxels"] == 1
    assert found[9].shape.geometry.area == 63


def test_small_ones_are_left_out_and_probability_is_the_objects_own():
    labels = _labels()
    probability = np.where(labels == 5, 200, 100).astype(np.uint8)
    found = _found(labels, ObjectOptions(min_area=64), probability=probability)
    assert set(found) == {5, 6, 70_000}
    assert found[5].row["mean_probability"] == pytest.approx(200 / 255)
    assert found[6].row["mean_probability"] == pytest.approx(100 / 255)


def test_an_empty_image_has_no_objects():
    assert _found(np.zeros((12, 12), np.uint16)) == {}


@pytest.mark.parametrize("labels", [np.zeros((4, 4), np.float32), np.full((4, 4), -3)])
def test_what_is_no_label_image_is_refused(labels):
    with pytest.raises(DataError, match="number"):
        find_numbered(lambda box: labels[box.slices], labels.shape)
