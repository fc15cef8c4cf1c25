from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from malpighi.annotations.masks import MaskAnnotation
from malpighi.annotations.region import within_region
from malpighi.annotations.slices import open_slices
from malpighi.errors import DataError
from malpighi.geometry import Box, Space, Spacing
from malpighi.images.array import ArraySource


def mask(array: np.ndarray, **more: int) -> MaskAnnotation:
    return MaskAnnotation(ArraySource.gray(array), Space.of_shape(array.shape, Spacing.um(1, array.ndim)), **more)


@pytest.mark.parametrize("shape", [(6, 8), (4, 6, 8)])
def test_outside_a_box_nothing_is_labelled(shape: tuple[int, ...]) -> None:
    array = np.ones(shape, np.uint8)
    region = Box((1,) * len(shape), (2,) * len(shape))
    annotation = within_region(mask(array), region)
    expected = np.full(shape, 255)
    expected[region.slices] = 1
    np.testing.assert_array_equal(annotation.rasterise(Box.of_shape(shape))[0], expected)


def test_at_another_spacing_the_centre_counts() -> None:
    annotation = within_region(mask(np.ones((6, 8), np.uint8)), Box((0, 3), (6, 5)))
    drawn = annotation.rasterise(Box((0, 0), (3, 4)), Spacing.um(2))[0]
    # centres lie at x = 1, 3, 5, 7
    assert drawn.tolist() == [[255, 1, 1, 1]] * 3


def test_a_region_may_be_a_mask(tmp_path: Path) -> None:
    seen = np.zeros((6, 8), np.uint8)
    seen[:, 5:] = 7
    Image.fromarray(seen).save(tmp_path / "seen.png")
    drawn = within_region(mask(np.eye(6, 8, dtype=np.uint8)), tmp_path / "seen.png").rasterise(Box.of_shape((6, 8)))[0]
    np.testing.assert_array_equal(drawn, np.where(seen > 0, np.eye(6, 8), 255))
    with pytest.raises(DataError, match="a mask of 6 × 8 for an image of 7 × 7"):
        within_region(mask(np.zeros((7, 7), np.uint8)), tmp_path / "seen.png")


def test_boxes_that_do_not_fit() -> None:
    for box in (Box((0,), (3,)), Box((9, 9), (1, 1))):
        with pytest.raises(DataError, match=r"give a box inside it"):
            within_region(mask(np.ones((6, 8), np.uint8)), box)


def test_a_value_may_stand_for_unlabelled() -> None:
    array = np.array([[0, 255, 128]], np.uint8)
    assert mask(array).rasterise(Box.of_shape((1, 3))).tolist() == [[[0, 1, 1]]]
    one = mask(array, unlabelled=128)
    assert one.rasterise(Box.of_shape((1, 3))).tolist() == [[[0, 1, 255]]]
    assert mask(array).has_objects
    assert not one.has_objects
    two = MaskAnnotation(ArraySource.gray(np.array([[0, 1, 2, 9]])), Space.of_shape((1, 4)), ("a", "b"), unlabelled=9)
    assert two.rasterise(Box.of_shape((1, 4)))[:, 0].tolist() == [[0, 1, 0, 255], [0, 0, 1, 255]]


def test_masks_of_some_slices(tmp_path: Path) -> None:
    planes = np.random.default_rng(0).integers(0, 2, (2, 4, 5)).astype(np.uint8)
    for number, plane in zip((12, 14), planes, strict=True):
        Image.fromarray(plane * 255).save(tmp_path / f"m_{number}.png")
    space = Space.of_shape((5, 4, 5), Spacing.um(1, 3))
    annotation = open_slices(tmp_path, space, numbers=range(10, 15))
    drawn = annotation.rasterise(Box.of_shape(space.shape))[0]
    assert [int(plane[0, 0]) for plane in drawn] == [255, 255, planes[0, 0, 0], 255, planes[1, 0, 0]]
    np.testing.assert_array_equal(drawn[[2, 4]], planes)
    assert annotation.notes == ("2 of 5 slices have a mask; the others are unlabelled",)
    coarse = annotation.rasterise(Box((0, 0, 0), (2, 4, 5)), Spacing.um((2, 1, 1)))[0]  # centres: slices 1 and 3
    assert (coarse == 255).all()
    with pytest.raises(DataError, match="is slice 12, the image's slices are 0 to 4"):
        open_slices(tmp_path, space)


def test_as_many_masks_as_slices_need_no_numbers(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        Image.fromarray(np.full((4, 5), number, np.uint8)).save(tmp_path / f"{number}.png")
    annotation = open_slices(tmp_path, Space.of_shape((3, 4, 5)), ("a", "b", "c"))
    drawn = annotation.rasterise(Box.of_shape((3, 4, 5)))
    assert [int(drawn[k, z, 0, 0]) for k in range(3) for z in range(3)] == [1, 0, 0, 0, 1, 0, 0, 0, 1]
