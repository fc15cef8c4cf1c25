"""Curves against brute force, and ranges that can be read off by eye."""

import numpy as np
import pytest

from malpighi.errors import DataError
from malpighi.metrics.overlap import count
from malpighi.metrics.stability import (
    HALF,
    at_share,
    best_share,
    dice_curve,
    histogram,
    mean_curve,
    optimum,
    probability,
)


@pytest.fixture
def voxels() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    truth = random.choice([0, 1, 255], (40, 50), p=[0.6, 0.3, 0.1]).astype(np.uint8)
    levels = np.clip(random.normal(np.where(truth == 1, 160, 90), 50), 0, 255).astype(np.uint8)
    return levels, truth


def test_every_threshold_is_what_counting_masks_gives(voxels):
    levels, truth = voxels
    curve = dice_curve(histogram(levels, truth))
    for level in range(1, 256):
        assert curve[level - 1] == count(levels >= level, truth).dice[0]


def test_a_level_is_a_probability(voxels):
    levels, _ = voxels
    assert probability(HALF) == 0.5
    for level in (1, 17, 128, 255):
        np.testing.assert_array_equal(levels >= level, levels / 255 >= probability(level))


def test_nothing_there_and_nothing_found_is_one_and_nothing_labelled_is_nan():
    curve = dice_curve(histogram(np.array([0, 9], np.uint8), np.zeros(2, np.uint8)))
    assert curve[:9].tolist() == [0] * 9
    assert curve[9:].tolist() == [1] * 246
    assert np.isnan(dice_curve(histogram(np.array([3], np.uint8), np.array([255], np.uint8)))).all()


def test_images_count_alike_and_unlabelled_ones_not():
    one = histogram(np.array([200, 100], np.uint8), np.array([1, 0], np.uint8))
    many = one * 1000
    none = np.zeros_like(one)
    np.testing.assert_array_equal(mean_curve(np.stack([one, many, none])), dice_curve(one))
    assert np.isnan(mean_curve(none[None])).all()


def test_the_middle_of_the_best_and_the_range_around_it():
    curve = np.full(255, 0.5)
    curve[99:110] = 0.8  # levels 100 … 110
    curve[94:99] = 0.796
    curve[20] = 0.7999  # as good, but not joined to the best
    found = optimum(curve)
    assert (found.level, found.low, found.high, found.dice) == (105, 95, 110, 0.8)
    assert found.range == (probability(95), probability(110))
    assert optimum(curve, slack=0).low == 100
    assert optimum(np.full(255, np.nan)).threshold == 0.5
    with pytest.raises(DataError, match="slack"):
        optimum(curve, -1)


def test_a_share_of_the_voxels(voxels):
    levels, truth = voxels
    whole = histogram(levels, truth)
    share = 25.0
    cut = np.sort(levels.ravel())[::-1][round(levels.size * share / 100) - 1]
    assert at_share(whole[None], share)[0] == count(levels >= cut, truth).dice[0]
    best, dice = best_share(whole[None])
    assert dice == at_share(whole[None], best)[0] >= at_share(whole[None], share)[0] - 0.02
    assert np.isnan(best_share(np.zeros((1, 256, 3), int))).all()


def test_shapes_must_agree():
    with pytest.raises(DataError, match="same voxels"):
        histogram(np.zeros(3, np.uint8), np.zeros(4, np.uint8))
