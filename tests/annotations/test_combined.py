import numpy as np
import pytest
import shapely

from malpighi.annotations.base import UNLABELLED
from malpighi.annotations.combined import CombinedAnnotation, rasterise_classes
from malpighi.annotations.masks import MaskAnnotation
from malpighi.annotations.outlines import Outlines, ShapesAnnotation
from malpighi.errors import DataError
from malpighi.geometry import Box, Shape, Space
from malpighi.images.array import ArraySource

SPACE = Space.of_shape((2, 3))
WHOLE = Box.of_shape((2, 3))


def outline(label, *boxes):
    return ShapesAnnotation("a.geojson", SPACE, Outlines(tuple(Shape(shapely.box(*b), label) for b in boxes)))


def mask(array, *classes):
    return MaskAnnotation(ArraySource.gray(np.asarray(array, np.uint8)), SPACE, classes)


def test_each_file_speaks_of_its_own_classes():
    both = CombinedAnnotation("case 1", [outline("tuft", (0, 0, 1, 1)), mask([[1, 1, 0], [0, 0, 0]], "capsule")])
    assert both.classes == ("tuft", "capsule")
    np.testing.assert_array_equal(both.rasterise(WHOLE), [[[1, 0, 0], [0, 0, 0]], [[1, 1, 0], [0, 0, 0]]])


def test_a_class_no_file_speaks_of_is_unlabelled():
    drawn = rasterise_classes(outline("tuft", (0, 0, 1, 1)), ("capsule", "tuft"), WHOLE)
    assert (drawn[0] == UNLABELLED).all()
    assert drawn[1].sum() == 1


def test_classes_nobody_asked_for_are_left_out():
    both = CombinedAnnotation("case 1", [outline("tuft", (0, 0, 1, 1)), outline("vessel", (1, 1, 2, 2))])
    assert rasterise_classes(both, ("vessel",), WHOLE).tolist() == [[[0, 0, 0], [0, 1, 0]]]


def test_an_unnamed_class_stands_for_the_only_one_asked_for():
    unnamed = mask([[1, 0, 0], [0, 0, 0]])
    assert rasterise_classes(unnamed, ("gland",), WHOLE).sum() == 1
    assert (rasterise_classes(unnamed, ("gland", "duct"), WHOLE) == UNLABELLED).all()


def test_two_files_of_one_class_add_up_and_one_that_leaves_it_open_does_not_count():
    open_there = mask([[1, 255, 255], [0, 0, 2]], "tuft", "capsule")
    other = outline("tuft", (1, 0, 2, 1), (0, 1, 1, 2))
    np.testing.assert_array_equal(
        CombinedAnnotation("case 1", [open_there, other]).rasterise(WHOLE),
        [[[1, 1, 0], [1, 0, 0]], [[0, 255, 255], [0, 0, 1]]],
    )


def test_instances_are_those_of_the_file_that_speaks_of_the_class():
    both = CombinedAnnotation("case 1", [outline("tuft", (0, 0, 1, 1)), outline("vessel", (1, 0, 2, 1), (2, 0, 3, 1))])
    assert both.has_objects
    assert both.instances(WHOLE, classes=("vessel",)).tolist() == [[0, 1, 2], [0, 0, 0]]
    with pytest.raises(DataError, match="one by one"):
        both.instances(WHOLE)
    assert [s.label for s in both.shapes()] == ["tuft", "vessel", "vessel"]


def test_files_of_other_images_do_not_combine():
    other = ShapesAnnotation("b", Space.of_shape((4, 4)), Outlines(()))
    with pytest.raises(DataError, match=r"b: made for an image of \(4, 4\)"):
        CombinedAnnotation("case 1", [outline("tuft"), other])
    with pytest.raises(DataError, match="no annotation at all"):
        CombinedAnnotation("case 1", [])
