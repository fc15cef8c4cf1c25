"""Counts of shared voxels: 4 × 4 arrays one can count by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from malpighi.errors import DataError
from malpighi.metrics.overlap import Overlap, combined, count

TRUTH = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], np.uint8)
FOUND = np.array([[0, 1, 1, 0], [0, 1, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]], np.uint8)


def test_by_hand():
    o = count(FOUND, TRUTH)
    assert o == Overlap((2,), (3,), (2,), (9,))
    assert o.dice == pytest.approx(4 / 9)
    assert o.iou == pytest.approx(2 / 7)
    assert o.precision == pytest.approx(2 / 5)
    assert o.recall == pytest.approx(1 / 2)
    assert o.accuracy == pytest.approx(11 / 16)


def test_classes_are_layers():
    o = count(np.stack([FOUND, TRUTH]), np.stack([TRUTH, TRUTH]))
    assert o.dice.tolist() == [pytest.approx(4 / 9), 1.0]
    assert o.of(0) == count(FOUND, TRUTH)


def test_volume_of_one_class():
    assert count(FOUND[None], TRUTH[None], rank=3) == count(FOUND, TRUTH)
    assert len(count(np.zeros((5, 4, 4), bool), np.zeros((5, 4, 4), bool)).tp) == 5


def test_unlabelled_voxels_are_not_scored():
    truth = TRUTH.copy()
    truth[:, 2:] = 255
    assert count(FOUND, truth) == count(FOUND[:, :2], TRUTH[:, :2])


def test_class_that_nobody_annotated_has_no_score():
    o = count(FOUND, np.full((4, 4), 255, np.uint8))
    assert np.isnan([o.dice[0], o.iou[0], o.precision[0], o.recall[0], o.accuracy[0]]).all()


def test_both_empty_is_one_and_half_empty_nothing():
    none = np.zeros((4, 4), bool)
    o = count(none, none)
    assert o.dice == o.iou == 1
    assert np.isnan([o.precision[0], o.recall[0]]).all()
    assert count(none, TRUTH).dice == 0
    assert np.isnan(count(none, TRUTH).precision[0])
    assert count(FOUND, np.zeros_like(TRUTH)).dice == 0


@given(
    arrays(np.uint8, (9, 7), elements=st.integers(0, 1)),
    arrays(np.uint8, (9, 7), elements=st.sampled_from([0, 1, 255])),
    st.integers(0, 9),
)
@settings(max_examples=60, deadline=None)
def test_blocks_add_to_the_whole(prediction, truth, cut):
    parts = [count(prediction[:cut], truth[:cut]), count(prediction[cut:], truth[cut:])]
    assert combined(parts) == count(prediction, truth)
    known = truth != 255
    p, t = prediction[known] == 1, truth[known] == 1
    expected = [np.sum(p & t), np.sum(p & ~t), np.sum(~p & t), np.sum(~p & ~t)]
    whole = count(prediction, truth)
    assert [whole.tp[0], whole.fp[0], whole.fn[0], whole.tn[0]] == expected


@pytest.mark.parametrize(
    ("prediction", "truth", "words"),
    [
        (FOUND, TRUTH[:3], "same voxels"),
        (FOUND.astype(float), TRUTH, "threshold"),
        (np.full((4, 4), np.nan), TRUTH, "threshold"),
        (FOUND, TRUTH * 3, r"truth holds \[3\]"),
    ],
)
def test_bad_input(prediction, truth, words):
    with pytest.raises(DataError, match=words):
        count(prediction, truth)


def test_counts_of_other_classes_do_not_add():
    with pytest.raises(DataError, match="2 classes"):
        Overlap.none(2) + Overlap.none(1)
