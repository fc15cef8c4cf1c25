"""The seam score, by hand."""

import numpy as np
import pytest

from malpighi.errors import DataError
from malpighi.geometry import Box
from malpighi.metrics.seam import SeamScore

WHOLE = Box((0, 0), (8, 12))


def test_errors_at_borders_only_and_inside_only():
    truth = np.zeros((8, 12), np.uint8)
    at_border, inside = truth.copy(), truth.copy()
    at_border[:, 3] = at_border[3, :] = 1  # borders are at 4 and 8
    inside[1, 1] = 1
    for prediction, expected in ((at_border, np.inf), (inside, 0), (truth, 1)):
        score = SeamScore((8, 12), (4, 4), width=1)
        score.add(prediction, truth, WHOLE)
        assert score.score == expected


def test_the_image_border_is_no_seam():
    score = SeamScore((8, 12), (4, 4), width=1)
    score.add(np.zeros((8, 12)), np.zeros((8, 12)), WHOLE)
    # rows 3 4 of 8, columns 3 4 7 8 of 12: interiors are 6 × 8
    assert (score.inside[1], score.near[1]) == (48, 48)


def test_even_errors_score_one_and_blocks_add():
    rng = np.random.default_rng(0)
    shape = (200, 240)
    truth = rng.integers(0, 2, shape).astype(np.uint8)
    truth[:10] = 255
    prediction = np.where(rng.random(shape) < 0.1, 1 - truth, truth)
    whole, parts = SeamScore(shape, (40, 40), 4), SeamScore(shape, (40, 40), 4)
    whole.add(prediction, truth, Box.of_shape(shape))
    for box in Box.of_shape(shape).split((33, 70)):
        parts.add(prediction[box.slices], truth[box.slices], box)
    assert whole.score == parts.score == pytest.approx(1, abs=0.1)


def test_class_layers_and_volumes():
    score = SeamScore((4, 4, 4), (2, 2, 2), width=1)
    score.add(np.ones((3, 4, 4, 4)), np.ones((3, 4, 4, 4)), Box.of_shape((4, 4, 4)))
    assert score.near[1] + score.inside[1] == 3 * 64


def test_one_tile_has_no_seam():
    score = SeamScore((8, 12), (16, 16))
    score.add(np.zeros((8, 12)), np.zeros((8, 12)), WHOLE)
    assert np.isnan(score.score)


def test_bad_input():
    with pytest.raises(DataError, match="step"):
        SeamScore((8, 8), (4,))
    with pytest.raises(DataError, match="both show"):
        SeamScore((8, 12), (4, 4)).add(np.zeros((4, 4)), np.zeros((8, 12)), WHOLE)
