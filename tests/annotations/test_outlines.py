import logging

import numpy as np
import pytest
import shapely

from malpighi.annotations.base import UNNAMED
from malpighi.annotations.outlines import Outlines, ShapesAnnotation, checked
from malpighi.errors import DataError, SpacingError
from malpighi.geometry import Box, Shape, Space, Spacing

SPACE = Space.of_shape((8, 10), Spacing.um(0.5))
WHOLE = Box.of_shape((8, 10))


def outlines(*shapes):
    return Outlines(tuple(shapes))


def square(x, y, side, label="", **more):
    return Shape(shapely.box(x, y, x + side, y + side), label, **more)


def test_classes_are_layers_in_the_order_asked_for():
    found = outlines(square(0, 0, 4, "capsule"), square(1, 1, 2, "tuft"), square(6, 6, 1, "vessel"))
    annotation = ShapesAnnotation("a", SPACE, found, ("tuft", "capsule"))
    drawn = annotation.rasterise(WHOLE)
    assert annotation.classes == ("tuft", "capsule")
    assert drawn.sum(axis=(1, 2)).tolist() == [4, 16]
    assert [s.label for s in annotation.shapes()] == ["capsule", "tuft"]


def test_the_file_names_its_classes_itself():
    annotation = ShapesAnnotation("a", SPACE, outlines(square(0, 0, 1, "b"), square(2, 2, 1, "a"), square(4, 4, 1, "b")))
    assert annotation.classes == ("b", "a")


def test_unnamed_objects_are_the_only_class_given():
    assert ShapesAnnotation("a", SPACE, outlines(square(0, 0, 1))).classes == (UNNAMED,)
    annotation = ShapesAnnotation("a", SPACE, outlines(square(0, 0, 1)), ("glomerulus",))
    assert [s.label for s in annotation.shapes()] == ["glomerulus"]
    with pytest.raises(DataError, match="carry no class, yet 2 are given"):
        ShapesAnnotation("a", SPACE, outlines(square(0, 0, 1)), ("tuft", "capsule"))


def test_no_object_means_background_of_the_classes_asked_for():
    annotation = ShapesAnnotation("a", SPACE, outlines(), ("tuft", "capsule"))
    assert annotation.rasterise(WHOLE).shape == (2, 8, 10)
    assert not annotation.rasterise(WHOLE).any()
    assert not annotation.instances(WHOLE).any()


def test_other_classes_than_asked_for_are_said(caplog):
    with caplog.at_level(logging.WARNING):
        ShapesAnnotation("a.geojson", SPACE, outlines(square(0, 0, 1, "Glom")), ("glomerulus",))
    assert "a.geojson: holds Glom, none of the classes asked for (glomerulus)" in caplog.text


def test_instances_are_numbered_in_the_file_order_whatever_the_box():
    annotation = ShapesAnnotation("a", SPACE, outlines(square(0, 0, 2, "t"), square(4, 4, 2, "c"), square(5, 5, 3, "t")))
    whole = annotation.instances(WHOLE)
    assert [whole[0, 0], whole[4, 4], whole[5, 5], whole[7, 7]] == [1, 2, 3, 3]
    np.testing.assert_array_equal(annotation.instances(Box((4, 4), (3, 3))), whole[4:7, 4:7])
    assert np.unique(annotation.instances(WHOLE, classes=("c",))).tolist() == [0, 2]


def test_an_outline_that_leaves_the_image_is_clipped_and_noted(caplog):
    with caplog.at_level(logging.WARNING):
        annotation = ShapesAnnotation("a", SPACE, outlines(square(8, 6, 5, id="far"), square(0, 0, 1)))
    drawn = annotation.rasterise(Box((5, 7), (6, 6)))[0]
    assert drawn.sum() == 4
    assert drawn[1:3, 1:3].all()
    assert annotation.notes == ("1 outlines leave the image (first: object 1, id far); clipped",)
    assert "clipped" in caplog.text


def test_outlines_that_all_lie_outside_are_of_another_image():
    with pytest.raises(DataError, match="all 1 outlines lie outside the image of 8 × 10"):
        ShapesAnnotation("a", SPACE, outlines(square(100, 100, 5)))


def test_a_figure_of_eight_keeps_both_lobes_and_is_noted(caplog):
    eight = shapely.Polygon([(0, 0), (4, 4), (4, 0), (0, 4)])
    with caplog.at_level(logging.WARNING):
        found = checked("a.json", [square(6, 0, 1), Shape(eight, "", id="eight")])
    assert found.notes == ("1 outlines cross themselves (first: object 2, id eight); filled by the even-odd rule",)
    assert caplog.text.count("a.json") == 1
    assert found.shapes[1].geometry.is_valid
    assert found.shapes[1].geometry.area == pytest.approx(8)


def test_what_a_loop_covers_twice_is_outside():
    loop = shapely.Polygon([(0, 0), (8, 0), (8, 8), (2, 8), (2, 2), (6, 2), (6, 6), (0, 6)])
    found = checked("a", [Shape(loop, "")])
    assert found.shapes[0].geometry.area == 44


def test_outlines_that_enclose_nothing_are_left_out_and_noted():
    found = checked("a", [Shape(shapely.Polygon(), "", id="none"), square(0, 0, 1)])
    assert len(found.shapes) == 1
    assert found.notes == ("1 outlines enclose nothing (first: object 1, id none); left out",)


def test_volumes_have_no_outlines():
    with pytest.raises(DataError, match="2-D images"):
        ShapesAnnotation("a", Space.of_shape((2, 8, 10)), outlines(square(0, 0, 1)))


def test_micrometres_and_pixels_do_not_mix():
    annotation = ShapesAnnotation("a", SPACE, outlines(square(0, 0, 1)))
    with pytest.raises(SpacingError, match="--spacing"):
        annotation.rasterise(WHOLE, Spacing.pixels(2))


def test_a_box_of_another_rank_is_refused():
    with pytest.raises(DataError, match="3 axes"):
        ShapesAnnotation("a", SPACE, outlines(square(0, 0, 1))).rasterise(Box((0, 0, 0), (1, 1, 1)))
