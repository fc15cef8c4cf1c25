import math

import numpy as np
import pytest

from malpighi.geometry import Box
from malpighi.objects.boxes import broken, ellipse, fill, pixels_of, shares

SHAPE = (12, 16)


def filled(mask, bounds, align=(4, 4)):
    out, written = mask.copy(), []

    def write(box, part):
        written.append(box)
        out[box.slices] = part

    fill(lambda box: out[box.slices], write, mask.shape, align, np.array(bounds, np.float32).reshape(-1, 4))
    return out, written


def test_the_ellipse_of_a_box_of_four_by_six():
    # half axes 2 and 3: in row 0 the centre lies 1.5 above the middle, so |x| <= 3·√(1 - .5625) = 1.98, centres ± .5 and ± 1.5;
    # in row 1 .5 above: |x| <= 3·√(1 - .0625) = 2.9, all centres to ± 2.5
    assert ellipse(np.array([0, 0, 4, 6]), Box((0, 0), (4, 6))).astype(int).tolist() == [
        [0, 1, 1, 1, 1, 0],
        [1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 1],
        [0, 1, 1, 1, 1, 0],
    ]


def test_a_large_ellipse_takes_its_share_of_the_box():
    assert ellipse(np.array([0, 0, 300, 200]), Box((0, 0), (300, 200))).mean() == pytest.approx(math.pi / 4, abs=2e-3)


def test_pixels_of_a_box_are_those_whose_centres_it_holds():
    assert pixels_of(np.array([0.4, 0.6, 3.5, 2.4]), SHAPE) == Box((0, 1), (3, 1))  # rows .5, 1.5, 2.5; column 1.5
    assert pixels_of(np.array([-3, 14, 2, 30]), SHAPE) == Box((0, 14), (2, 2))
    assert pixels_of(np.array([-9, -9, -1, -1]), SHAPE).empty


def test_shares_are_those_of_the_mask_in_each_box():
    mask = np.zeros(SHAPE, np.uint8)
    mask[0:2, 0:4] = 1
    found = shares(lambda box: mask[box.slices], SHAPE, np.array([[0, 0, 4, 4], [2, 0, 4, 4], [0, 0, 2, 4], [-5, -5, -1, -1]]))
    assert found.tolist() == [0.5, 0, 1, 0]


def test_only_a_part_is_filled_and_what_the_mask_denies_is_not():
    # π/4 = .785: with agree .8 the limit is .628
    assert broken(np.array([0.0, 0.1, 0.2, 0.5, 0.62, 0.64, 1.0]), 0.8, 0.2).tolist() == [
        False, False, True, True, True, False, False
    ]  # fmt: skip
    assert not broken(np.array([0.0, 0.5, 0.78]), 0.0, 0.2).any()


@pytest.mark.parametrize("align", [(4, 4), (5, 7), (64, 64)])
def test_a_filled_mask_is_the_mask_and_the_ellipses_however_it_is_cut(align):
    mask = np.random.default_rng(0).random(SHAPE) < 0.2
    bounds = [[1, 1, 7, 9], [-2, 10, 5, 20], [6.3, 4.2, 11.9, 12.1]]
    wanted = mask.copy()
    for each in bounds:
        wanted |= ellipse(np.array(each), Box.of_shape(SHAPE))
    out, _ = filled(mask.astype(np.uint8), bounds, align)
    np.testing.assert_array_equal(out, wanted)


def test_what_no_box_meets_is_not_touched():
    mask = np.ones(SHAPE, np.uint8)
    out, written = filled(mask, [])
    assert written == []
    np.testing.assert_array_equal(out, mask)
    out, written = filled(np.zeros(SHAPE, np.uint8), [[0, 0, 4, 4]])
    assert (written, out.sum()) == ([Box((0, 0), (4, 4))], 12)  # all but the corners: 3 / 4 of 16
    assert filled(mask, [[0, 0, 4, 4]])[1] == []  # nothing new: not written again
