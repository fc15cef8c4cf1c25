"""Small objects drawn anew: by hand, and block by block as in one piece."""

import numpy as np
import pytest
from skimage.filters import threshold_otsu
from skimage.measure import label

from malpighi.geometry import Box
from malpighi.objects.label import find_components
from malpighi.objects.otsu import Redraw, grown, redrawn


def reader(array):
    return lambda box: array[box.slices]


def redraw(mask, probability, below, block=None, holes=0.0, **more):
    components = find_components(reader(mask), mask.shape, block)
    return Redraw(components, below, reader(mask), reader(probability), holes, **more)


def peak() -> tuple[np.ndarray, np.ndarray]:
    """A square of 4 × 4 that the network is sure of in a ring of doubt; the threshold took only 2 × 3 of it."""
    probability = np.full((12, 12), 10, np.uint8)
    probability[4:8, 4:8] = 120
    probability[5:7, 4:7] = 140
    return probability >= 128, probability


def test_the_box_is_half_as_large_again_and_stays_in_the_image():
    start, stop = grown(np.array([[4, 10], [0, 0]]), np.array([[8, 13], [2, 1]]), (40, 13))
    np.testing.assert_array_equal(start, [[3, 9], [0, 0]])
    np.testing.assert_array_equal(stop, [[9, 13], [3, 2]])


def test_an_object_becomes_what_otsu_finds_around_it():
    mask, probability = peak()
    found = redraw(mask, probability, 20).draw(Box.of_shape(mask.shape))
    expected = np.zeros_like(mask)
    # rows 5, 6 grow by 1, columns 4 … 6 by 1: rows 4 … 7, columns 3 … 7 are looked at, where column 3 is background
    expected[4:8, 4:8] = True
    np.testing.assert_array_equal(found, expected)


def test_large_objects_and_pictures_of_one_grey_stay_as_they_are():
    mask, probability = peak()
    assert redraw(mask, probability, 6).draw(Box.of_shape(mask.shape)) is None  # six voxels are not fewer than six
    np.testing.assert_array_equal(redraw(mask, np.full_like(probability, 200), 20).draw(Box.of_shape(mask.shape)), mask)
    assert redraw(mask, probability, 20, whole=19).draw(Box.of_shape(mask.shape)) is None  # 4 × 5 voxels are read


def test_parts_that_do_not_meet_the_object_are_not_taken():
    own = np.zeros((1, 7), bool)
    own[0, :3] = True
    probability = np.array([[200, 200, 90, 10, 10, 200, 200]], np.uint8)
    np.testing.assert_array_equal(redrawn(own, probability)[0], [1, 1, 0, 0, 0, 0, 0])
    assert redrawn(np.array([[True, False]]), np.array([[0, 200]], np.uint8)).tolist() == [[True, False]]


def test_holes_of_what_is_drawn_are_filled_too():
    probability = np.full((20, 20), 10, np.uint8)
    probability[5:12, 5:12] = 120
    probability[8, 8] = 10
    probability[6, 6] = 140
    probability[10, 10] = 140
    mask = np.zeros((20, 20), bool)
    mask[6:11, 6] = mask[10, 6:11] = True
    drawn = redraw(mask, probability, 20, holes=2).draw(Box.of_shape(mask.shape))
    assert drawn[8, 8]
    assert drawn[5:12, 5:12].all()
    assert not redraw(mask, probability, 20).draw(Box.of_shape(mask.shape))[8, 8]


@pytest.mark.parametrize("block", [(8, 8), (16, 8), (64, 64)])
def test_in_blocks_as_in_one_piece(block):
    rng = np.random.default_rng(0)
    smooth = rng.normal(size=(64, 56))
    for axis in (0, 1):
        smooth = sum(np.roll(smooth, n, axis) for n in range(-2, 3))
    probability = (255 / (1 + np.exp(-smooth / 3))).astype(np.uint8)
    mask = probability >= 128
    numbers = label(mask, connectivity=2)
    gone, come = np.zeros_like(mask), np.zeros_like(mask)
    for n in range(1, numbers.max() + 1):
        own = numbers == n
        if own.sum() >= 60:
            continue
        y, x = np.nonzero(own)
        sides = [(a.min() - -(-(np.ptp(a) + 1) // 4), a.max() + 1 + -(-(np.ptp(a) + 1) // 4)) for a in (y, x)]
        part = tuple(slice(max(0, a), b) for a, b in sides)
        parts = label(probability[part] > threshold_otsu(probability[part]), connectivity=2)
        met = np.setdiff1d(parts[own[part]], [0])
        gone |= own
        come[part] |= np.isin(parts, met) if len(met) else own[part]
    whole = (mask & ~gone) | come
    assert (whole != mask).any()
    found = mask.copy()
    anew = redraw(mask, probability, 60, block)
    for box in Box.of_shape(mask.shape).split(block):
        drawn = anew.draw(box)
        if drawn is not None:
            found[box.slices] = drawn
    np.testing.assert_array_equal(found, whole)
