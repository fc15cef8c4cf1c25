"""Average precision, thresholds and F1 of several labels an item."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score

from malpighi.errors import DataError
from malpighi.metrics.multilabel import average_precisions, best_thresholds, f1, mean_ap

NAN = float("nan")


def column(*values):
    return np.array(values, float)[:, None]


def test_average_precision_by_hand():
    # ranked: true, false, true → precision 1 at recall 1/2, then 2/3 at recall 1
    assert average_precisions(column(0.9, 0.8, 0.7), column(1, 0, 1)) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_equal_scores_are_one_step():
    assert average_precisions(column(0.5, 0.5, 0.1), column(1, 0, 0)) == pytest.approx(0.5)
    assert average_precisions(column(0.5, 0.5, 0.1), column(0, 1, 0)) == pytest.approx(0.5)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**31), st.integers(2, 40), st.integers(2, 12))
def test_is_scikit_learns(seed, n, levels):
    draw = np.random.default_rng(seed)
    scores = draw.integers(0, levels, (n, 4)) / levels  # few levels: many ties
    targets = (draw.random((n, 4)) < 0.3).astype(float)
    targets[0], targets[1] = 1, 0
    wanted = [average_precision_score(targets[:, c], scores[:, c]) for c in range(4)]
    assert average_precisions(scores, targets) == pytest.approx(wanted)


def test_classes_without_both_kinds_have_no_score():
    scores = np.array([[0.9, 0.9, 0.9], [0.1, 0.1, 0.1]])
    targets = np.array([[1, 1, 0], [0, 1, 0]])
    assert average_precisions(scores, targets) == pytest.approx([1.0, NAN, NAN], nan_ok=True)
    assert mean_ap(scores, targets) == 1.0
    assert np.isnan(mean_ap(scores[:, 1:], targets[:, 1:]))
    assert np.isnan(best_thresholds(scores, targets)[1:]).all()


def test_unknown_targets_are_left_out():
    scores, targets = column(0.9, 0.8, 0.7, NAN), column(1, NAN, 1, NAN)
    targets = np.concatenate([targets, column(0, 1, NAN, NAN)], 1)
    scores = np.concatenate([scores, column(0.2, 0.3, 0.9, NAN)], 1)
    assert average_precisions(scores, targets) == pytest.approx([NAN, 1.0], nan_ok=True)


def test_threshold_lies_between_two_scores():
    assert best_thresholds(column(0.9, 0.7, 0.3, 0.1), column(1, 1, 0, 0)) == pytest.approx([0.5])
    assert best_thresholds(column(0.9, 0.7), column(0, 1)) == pytest.approx([0.7])  # all of them: F1 2/3


@pytest.mark.parametrize("seed", range(8))
def test_no_threshold_does_better(seed):
    draw = np.random.default_rng(seed)
    targets = (draw.random((30, 3)) < 0.4).astype(float)
    scores = np.round(0.3 * targets + draw.random((30, 3)), 1)
    best = f1(scores, targets, best_thresholds(scores, targets)).by_class
    for limit in np.unique(scores):
        assert (f1(scores, targets, limit).by_class <= best + 1e-12).all()


def test_f1_is_scikit_learns():
    draw = np.random.default_rng(3)
    scores, targets = draw.random((50, 4)), (draw.random((50, 4)) < 0.4).astype(float)
    limits = np.array([0.2, 0.4, 0.6, 0.8])
    ours = f1(scores, targets, limits)
    assert ours.by_class == pytest.approx(f1_score(targets, scores >= limits, average=None))
    assert ours.macro == pytest.approx(f1_score(targets, scores >= limits, average="macro"))
    assert ours.micro == pytest.approx(f1_score(targets, scores >= limits, average="micro"))


def test_a_label_that_is_nowhere_and_never_given_has_no_f1():
    result = f1(column(0.1, 0.2), column(0, 0), 0.5)
    assert np.isnan(result.by_class).all()
    assert np.isnan(result.macro)
    assert np.isnan(result.micro)
    assert f1(column(0.9), column(1), NAN).micro == 0.0


@pytest.mark.parametrize(
    ("scores", "targets", "words"),
    [
        (np.zeros((2, 3)), np.zeros((2, 2)), "(2, 3)"),
        (column(0.5), column(0.5), "1, 0, or NaN"),
        (column(0.5, NAN), column(1, 0), "item 1 for class 0"),
    ],
)
def test_bad_input_is_named(scores, targets, words):
    with pytest.raises(DataError, match=words.replace("(", r"\(").replace(")", r"\)")):
        average_precisions(scores, targets)
