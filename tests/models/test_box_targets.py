import math

import numpy as np
import pytest

from malpighi.models.box_targets import UNLABELLED, seen, tile_boxes


def disc(shape, centre, radius):
    y, x = np.ogrid[: shape[0], : shape[1]]
    return ((y + 0.5 - centre[0]) ** 2 + (x + 0.5 - centre[1]) ** 2 <= radius**2).astype(np.uint8)


def test_boxes_are_around_the_objects_of_each_class():
    target = np.zeros((2, 40, 50), np.uint8)
    target[0, 5:15, 8:20] = 1
    target[1, 20:30, 30:45] = 1
    target[1, 30:35, 25:30] = 1  # meets the other at a corner: one object
    found = tile_boxes(target)
    assert found.boxes.tolist() == [[8, 5, 20, 15], [25, 20, 45, 35]]
    assert found.labels.tolist() == [0, 1]
    assert not found.unknown.any()


def test_a_tile_without_objects_has_no_boxes():
    found = tile_boxes(np.zeros((1, 20, 20), np.uint8))
    assert found.boxes.shape == (0, 4)
    assert found.labels.shape == (0,)


@pytest.mark.parametrize("centre", [(32, 4), (32, 60), (4, 32), (60, 32)])
def test_of_a_disc_cut_by_the_border_the_share_is_geometry(centre):
    # cut 4 before its centre: all but a segment of height 20 - 4 is seen: 1 - (α - sin α cos α) / π, cos α = 4 / 20
    mask = disc((64, 64), centre, 20)
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    start = (rows[0], columns[0])
    piece = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] > 0
    angle = math.acos(4 / 20)
    wanted = 1 - (angle - math.sin(angle) * math.cos(angle)) / math.pi
    assert seen(piece, start, int(piece.sum()), mask.shape) == pytest.approx(wanted, abs=0.02)


@pytest.mark.parametrize(("row", "kept"), [(-10, False), (-6, False), (-2, True), (6, True)])
def test_an_object_of_which_less_than_a_third_is_seen_is_left_out_and_unknown(row, kept):
    # of a disc of radius 20 whose centre lies 10, 6, 2 above the tile (or 6 below its edge) .196, .312, .437 (.688) are seen
    target = disc((64, 64), (row, 32), 20)[None]
    found = tile_boxes(target)
    assert len(found.boxes) == kept
    assert found.unknown.any() != kept
    if not kept:
        np.testing.assert_array_equal(found.unknown, target == 1)


def test_specks_are_no_objects():
    target = np.zeros((1, 20, 20), np.uint8)
    target[0, 4:6, 4:12] = 1
    assert len(tile_boxes(target).boxes) == 0


def test_where_nobody_said_is_unknown_but_in_a_box():
    target = np.full((2, 30, 30), UNLABELLED, np.uint8)
    target[0, :, :15] = 0
    target[0, 5:15, 4:14] = 1
    target[0, 5:8, 4:7] = UNLABELLED  # a corner of the object's box
    target[0, 5:8, 7:14] = 1
    found = tile_boxes(target)
    assert found.boxes.tolist() == [[4, 5, 14, 15]]
    assert not found.unknown[0, :, :15].any()
    assert found.unknown[0, :, 15:].all()
    assert found.unknown[1].all()


def test_soft_targets_are_the_class_from_a_half_on():
    target = np.zeros((1, 30, 30), np.float32)
    target[0, 5:15, 5:15] = 0.5
    target[0, 20:28, 5:15] = 0.49
    target[0, :, 20:] = np.nan
    found = tile_boxes(target)
    assert found.boxes.tolist() == [[5, 5, 15, 15]]
    np.testing.assert_array_equal(found.unknown[0], np.isnan(target[0]))
