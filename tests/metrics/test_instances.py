"""Matching of objects: by hand, against dense IoU, against shapely."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment

from malpighi.errors import DataError
from malpighi.metrics.instances import (
    Intersections,
    ObjectScore,
    average_precisions,
    match,
    object_dice,
    pairs_of_shapes,
)


def pairs_of(prediction, truth, cut=None):
    counted = Intersections()
    for part in (slice(0, cut), slice(cut, None)) if cut is not None else (slice(None),):
        counted.add(prediction[part], truth[part])
    return counted.pairs()


TRUTH = np.array([[1, 1, 0, 7], [1, 1, 0, 7], [0, 0, 0, 7], [3, 0, 0, 0]])
FOUND = np.array([[2, 2, 0, 5], [2, 0, 0, 5], [0, 0, 0, 0], [0, 0, 9, 9]])


def test_by_hand():
    pairs = pairs_of(FOUND, TRUTH)
    assert sorted(pairs.iou.tolist()) == [pytest.approx(2 / 3), 0.75]
    score = match(pairs)
    assert score == ObjectScore(2, 1, 1, pytest.approx(2 / 3 + 0.75))
    assert score.f1 == pytest.approx(4 / 6)
    assert score.precision == score.recall == pytest.approx(2 / 3)
    assert score.average_precision == 0.5
    assert score.pq == pytest.approx((2 / 3 + 0.75) / 3)
    assert match(pairs, 0.7).tp == 1
    assert list(average_precisions(pairs).values())[-1] == 0
    assert match(pairs, 0.75).tp == 0  # greater than, not equal


def test_object_dice_by_hand():
    # areas 4, 3, 1 true and 3, 2, 2 found; Dice of the two matches 6/7 and 4/5
    expected = ((4 * 6 / 7 + 3 * 4 / 5) / 8 + (3 * 6 / 7 + 2 * 4 / 5) / 7) / 2
    assert object_dice(pairs_of(FOUND, TRUTH)) == pytest.approx(expected)
    assert object_dice(pairs_of(TRUTH, TRUTH)) == 1


labels = arrays(np.int32, (8, 9), elements=st.integers(0, 5))


def dense_iou(prediction, truth):
    p, t = np.unique(prediction[prediction > 0]), np.unique(truth[truth > 0])
    iou = np.zeros((len(p), len(t)))
    for i, a in enumerate(p):
        for j, b in enumerate(t):
            iou[i, j] = ((prediction == a) & (truth == b)).sum() / ((prediction == a) | (truth == b)).sum()
    return iou


@given(labels, labels, st.sampled_from([0.0, 0.05, 0.1, 0.2, 0.5, 0.6]), st.integers(0, 8))
@settings(max_examples=120, deadline=None)
def test_equals_a_dense_assignment_however_it_is_cut(prediction, truth, threshold, cut):
    iou = dense_iou(prediction, truth)
    score = match(pairs_of(prediction, truth, cut), threshold)
    rows, columns = linear_sum_assignment(-((iou > threshold) * (1 + iou / 100)))
    chosen = iou[rows, columns]
    chosen = chosen[chosen > threshold]
    assert (score.tp, score.tp + score.fp, score.tp + score.fn) == (len(chosen), *iou.shape)
    assert score.iou_sum == pytest.approx(chosen.sum())


def test_perfect_on_the_threshold_of_uniqueness():
    """Two halves each have IoU .5 with the whole: neither is more than half of it."""
    assert match(pairs_of(np.array([[1, 2]]), np.array([[1, 1]]))).tp == 0


def test_no_objects():
    none = np.zeros((3, 3), int)
    both = match(pairs_of(none, none))
    assert (both.f1, both.pq, both.average_precision) == (1, 1, 1)
    assert np.isnan([both.precision, both.recall]).all()
    assert match(pairs_of(none, TRUTH[:3, :3])).f1 == 0
    assert object_dice(pairs_of(none, none)) == 1
    assert object_dice(pairs_of(none, TRUTH[:3, :3])) == 0
    assert match(Intersections().pairs()) == ObjectScore(0, 0, 0)


def test_many_blocks_are_merged():
    rng = np.random.default_rng(0)
    prediction, truth = rng.integers(0, 900, (2, 40, 2000))
    counted = Intersections(merge_above=1000)
    for row in range(40):
        counted.add(prediction[row : row + 1], truth[row : row + 1])
    assert len(counted._keys) < 40
    whole, parts = pairs_of(prediction, truth), counted.pairs()
    for name in ("predicted", "true", "p", "t", "shared"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))


def test_shapes_give_what_labels_give():
    true = [shapely.box(0, 0, 2, 2), shapely.box(3, 0, 4, 3), shapely.box(0, 3, 1, 4)]
    found = [shapely.box(0, 0, 2, 2) - shapely.box(1, 1, 2, 2), shapely.box(3, 0, 4, 2), shapely.box(2, 3, 4, 4)]
    score = match(pairs_of_shapes(found, true))
    assert score == match(pairs_of(FOUND, TRUTH))
    assert match(pairs_of_shapes([], true)) == ObjectScore(0, 0, 3)
    assert match(pairs_of_shapes([], [])).f1 == 1


def test_scores_add():
    assert ObjectScore(1, 2, 3, 0.5) + ObjectScore(1, 1, 1, 0.25) == ObjectScore(2, 3, 4, 0.75)


@pytest.mark.parametrize(
    ("prediction", "truth", "words"),
    [
        (FOUND, TRUTH[:3], "same voxels"),
        (FOUND.astype(float), TRUTH, "integer labels"),
        (FOUND - 1, TRUTH, "labels outside"),
    ],
)
def test_bad_labels(prediction, truth, words):
    with pytest.raises(DataError, match=words):
        Intersections().add(prediction, truth)


def test_invalid_outline_is_named():
    bow = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    with pytest.raises(DataError, match="truth: outline 1 is not valid"):
        pairs_of_shapes([], [shapely.box(0, 0, 1, 1), bow])


def test_bad_threshold():
    with pytest.raises(DataError, match="IoU threshold"):
        match(pairs_of(FOUND, TRUTH), 1.0)
