"""Thresholds that can be read off, and nested scores that cannot be fooled."""

import numpy as np
import pytest

from malpighi.inference.ensemble_limits import Candidate, dice_at, fit_limits, judge, mean_dice
from malpighi.metrics.stability import HALF, histogram


def image(true: int, false: int, truth: tuple[int, int] = (1, 0)) -> np.ndarray:
    """Histogram of 60 voxels at level `true` that are of the class, and 40 at `false` that are not."""
    levels = np.repeat(np.array([true, false], np.uint8), [60, 40])
    return histogram(levels, np.repeat(np.array(truth, np.uint8), [60, 40]))


def test_thresholds_lie_between_what_is_and_what_is_not():
    images = np.stack([image(100, 60), image(90, 70)])[:, None]
    limits = fit_limits(images)
    (found,) = limits.optima
    assert found.dice == 1
    assert (found.low, found.high) == (71, 90)
    assert found.level == 80
    assert dice_at(images, limits.levels()).tolist() == [[1], [1]]
    assert dice_at(images, HALF).tolist() == [[0], [0]]


def test_a_value_of_three_images_has_its_own_threshold_and_one_of_two_has_not():
    images = np.stack([image(100, 60)] * 3 + [image(200, 150)] * 2)[:, None]
    limits = fit_limits(images, ["kidney"] * 3 + ["spleen"] * 2)
    assert set(limits.by) == {"kidney"}
    assert limits.levels("kidney") == [80]
    assert limits.levels("spleen") == limits.levels() == limits.levels("lung")


def test_an_unlabelled_class_keeps_one_half_and_is_not_scored():
    images = np.stack([np.stack([image(100, 60), image(9, 3, (255, 255))])] * 3)
    limits = fit_limits(images, ["a", "a", "a"])
    assert limits.optima[1].threshold == 0.5
    assert set(limits.by["a"]) == {0}
    dice = dice_at(images, limits.levels())
    assert np.isnan(dice[:, 1]).all()
    assert mean_dice(dice) == 1
    assert np.isnan(mean_dice(np.full((2, 2), np.nan)))


def test_nested_leaves_out_what_is_scored():
    # the last image needs another threshold than all others: in sample that costs nothing by value, nested it does
    images = np.stack([image(100, 60)] * 4 + [image(200, 150)])[:, None]
    folds = np.array([0, 0, 1, 1, 2])
    found = judge(Candidate("mean", images), folds)
    wrong = 2 * 60 / (100 + 60)  # all voxels taken
    assert found.fooled == pytest.approx((4 + wrong) / 5)
    assert found.nested == pytest.approx((4 + wrong) / 5)
    assert found.half == pytest.approx(wrong / 5)
    assert found.by is None
    alone = judge(Candidate("mean", images[:1]), np.zeros(1, int))
    assert alone.fooled == 1
    assert np.isnan(alone.nested)


def test_weights_that_were_fitted_to_the_image_itself_do_not_count():
    right, useless = np.stack([image(100, 60)] * 4)[:, None], np.stack([image(60, 100)] * 4)[:, None]
    folds = np.array([0, 0, 1, 1])
    found = judge(Candidate("evolution", right, useless, [right, right]), folds)
    assert found.fooled == 1
    assert found.nested == 0


def test_by_value_is_scored_too():
    images = np.stack([image(100, 60)] * 4 + [image(200, 150)] * 4)[:, None]
    folds = np.array([0, 1, 2, 3] * 2)
    found = judge(Candidate("mean", images), folds, ["a"] * 4 + ["b"] * 4)
    assert found.fooled == found.by == found.best == 1
    assert found.nested < 1
